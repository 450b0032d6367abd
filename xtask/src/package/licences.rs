//! Under which licences the package is, and the texts that come with its crates.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::crates::Crate;
use super::read;
use crate::command;

/// How files with a licence or a notice begin, in capitals.
const NAMES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];
/// The texts of licences that crates without a file are under, by what stands in their expressions. The first that
/// is there is taken: where there is a choice the text that is the same for all.
const STANDARD: [(&str, &str); 2] = [("Apache-2.0", "LICENSE-APACHE"), ("MIT", "LICENSE-MIT")];
/// Who holds the rights to this project's texts.
const HOLDERS: &str = "Sessionscope contributors";

/// The file `copyright` as Debian reads it.
pub(super) fn copyright() -> Result<String> {
    let mit = read(&command::repository().join("LICENSE-MIT"))?;
    let indented: String = mit
        .lines()
        .map(|line| match line {
            "" => " .\n".to_owned(),
            line => format!(" {line}\n"),
        })
        .collect();
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: Sessionscope\n\
         Comment: crates.txt, in this folder, names the crates that are compiled into the program, with their\n \
         licences and the texts of those.\n\
         \n\
         Files: *\n\
         Copyright: {HOLDERS}\n\
         License: Expat or Apache-2.0\n\
         \n\
         License: Expat\n\
         {indented}\
         \n\
         License: Apache-2.0\n \
         The text is in /usr/share/common-licenses/Apache-2.0.\n"
    ))
}

/// The file `crates.txt`: each crate that is linked, and every text once.
pub(super) fn texts(crates: &[Crate]) -> Result<String> {
    let mut list = String::new();
    // Each text with the crates that come with it, in the order of their first.
    let mut texts: Vec<(String, Vec<String>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for one in crates.iter().filter(|one| one.is_linked) {
        let title = format!("{} {}", one.name, one.version);
        let licence = one.licence.as_deref().unwrap_or("see the text");
        let mut numbers = Vec::new();
        for text in texts_of(one)? {
            let place = *places.entry(text.clone()).or_insert(texts.len());
            if place == texts.len() {
                texts.push((text, Vec::new()));
            }
            texts[place].1.push(title.clone());
            numbers.push((place + 1).to_string());
        }
        writeln!(list, "{title}: {licence} (text {})", numbers.join(", "))?;
    }
    let mut file = format!(
        "The crates that are compiled into /usr/bin/sessionscope, their licences, and the texts that they come \
         with.\n\n{list}"
    );
    for (number, (text, titles)) in texts.iter().enumerate() {
        write!(
            file,
            "\n\nText {}, of {}\n\n{text}\n",
            number + 1,
            titles.join(", ")
        )?;
    }
    Ok(file)
}

/// The texts that a crate is under: those of its folder, otherwise the standard one.
fn texts_of(one: &Crate) -> Result<Vec<String>> {
    let mut files = files(&one.folder)?;
    // A package of this workspace.
    if files.is_empty() && one.checksum.is_none() {
        files = self::files(command::repository())?;
    }
    files.extend(one.licence_file.clone().filter(|file| file.is_file()));
    files.sort();
    files.dedup();
    let mut texts = Vec::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        texts.push(text.trim_matches('\n').to_owned());
    }
    if texts.is_empty() {
        texts.push(standard_text(one)?);
    }
    Ok(texts)
}

/// The files of a folder that are licences or notices.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_uppercase();
        if path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin)) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The text for a crate that has none: what its expression names, of its authors.
fn standard_text(one: &Crate) -> Result<String> {
    let licence = one.licence.as_deref().unwrap_or_default();
    let known = STANDARD.iter().find(|(name, _)| licence.contains(name));
    ensure!(
        known.is_some(),
        "{} {} comes without the text of its licence ({licence}): add that licence to STANDARD",
        one.name,
        one.version
    );
    let file = known.map_or("", |(_, file)| *file);
    let text = read(&command::repository().join(file))?;
    let authors = match &one.authors[..] {
        [] => format!("the authors of {}", one.name),
        authors => authors.join(", "),
    };
    Ok(text.trim_matches('\n').replace(HOLDERS, &authors))
}

#[cfg(test)]
mod tests {
    use super::super::crates::tests::example;
    use super::*;

    /// What is linked of the example, with folders that exist.
    fn crates(folder: &Path) -> Vec<Crate> {
        let mut crates = example();
        crates.retain(|one| one.is_linked);
        for one in &mut crates {
            one.folder = folder.join(&one.name);
            fs::create_dir_all(&one.folder).unwrap();
        }
        crates
    }

    #[test]
    fn a_text_that_two_come_with_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let crates = crates(folder.path());
        for one in &crates {
            fs::write(one.folder.join("License-MIT"), "the words\r\n").unwrap();
            fs::write(one.folder.join("Cargo.toml"), "").unwrap();
        }
        let file = texts(&crates).unwrap();
        assert_eq!(file.matches("the words").count(), 1, "{file}");
        assert!(
            file.contains("linked 1.0.0: MIT OR Apache-2.0 (text 1)"),
            "{file}"
        );
        assert!(
            file.contains("Text 1, of agent 1.0.0, linked 1.0.0\n"),
            "{file}"
        );
    }

    #[test]
    fn a_crate_without_a_text_gets_the_standard_one_or_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut crates = crates(folder.path());
        crates.retain(|one| one.name == "linked");
        assert!(texts(&crates).unwrap().contains("Apache License"));
        crates[0].licence = Some("MIT".to_owned());
        let file = texts(&crates).unwrap();
        assert!(file.contains("Copyright (c) Someone"), "{file}");
        crates[0].licence = Some("MPL-2.0".to_owned());
        let error = texts(&crates).unwrap_err().to_string();
        assert!(
            error.contains("linked 1.0.0") && error.contains("MPL-2.0"),
            "{error}"
        );
    }

    #[test]
    fn the_licences_of_the_project_are_those_of_its_manifest() {
        assert_eq!(env!("CARGO_PKG_LICENSE"), "MIT OR Apache-2.0");
        let file = copyright().unwrap();
        assert!(file.starts_with("Format: "), "{file}");
        assert!(
            file.contains("License: Expat\n MIT License\n .\n"),
            "{file}"
        );
    }
}
