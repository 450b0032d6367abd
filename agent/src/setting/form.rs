//! Forms of text that several keys have.

use std::path::{Path, PathBuf};

use crate::named::Named;

/// The one of a name, of an enumeration with names.
pub fn choose<T: Named>(text: &str) -> Result<T, String> {
    T::named(text).ok_or_else(|| {
        let names: Vec<String> = T::NAMES.iter().map(|name| format!("\"{name}\"")).collect();
        format!("expected {}, found \"{text}\"", names.join(" or "))
    })
}

/// An absolute path.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("expected an absolute path, found \"{text}\""))
    }
}

/// Absolute paths.
pub fn absolutes(texts: &[String]) -> Result<Vec<PathBuf>, String> {
    texts.iter().map(|text| absolute(text)).collect()
}

/// A path as it was written.
pub fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// One that may not be set.
pub fn optional_path_text(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path_text(path))
}

/// Paths as they were written.
pub fn paths_text(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path_text(path)).collect()
}
