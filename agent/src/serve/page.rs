//! The status page: what a browser shows of the API. All of it is in the binary, and it asks nobody but this agent.

use axum::{
    extract::Path,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Nothing from elsewhere, nothing within the text, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files besides the page itself: name, type, content.
const FILES: [(&str, &str, &str); 7] = [
    ("page.css", CSS, include_str!("page/page.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("page.js", SCRIPT, include_str!("page/page.js")),
    ("elements.js", SCRIPT, include_str!("page/elements.js")),
    ("plots.js", SCRIPT, include_str!("page/plots.js")),
    ("sessions.js", SCRIPT, include_str!("page/sessions.js")),
    ("units.js", SCRIPT, include_str!("page/units.js")),
];

/// `GET /`
pub(super) async fn index() -> Response {
    answer(HTML, include_str!("page/index.html"))
}

/// `GET /page/{file}`
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let file = FILES.iter().find(|(file, ..)| *file == name);
    file.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |(_, kind, content)| answer(kind, content),
    )
}

fn answer(kind: &'static str, content: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version has other files.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path};

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/page");
        let there = fs::read_dir(folder).expect("the folder");
        let there: BTreeSet<String> = there
            .map(|file| {
                file.expect("a file")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name != "index.html")
            .collect();
        assert_eq!(
            there,
            FILES.iter().map(|(name, ..)| (*name).to_owned()).collect()
        );
    }

    /// Whatever the agent says must not become a part of the page but as text.
    #[test]
    fn no_script_writes_markup_and_nothing_is_from_elsewhere() {
        let page = include_str!("page/index.html");
        for (name, _, content) in FILES.iter().chain([&("index.html", HTML, page)]) {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                " style=",
                "onclick=",
            ] {
                assert!(!content.contains(forbidden), "{name}: {forbidden}");
            }
            // The name of the language of drawings is no place.
            let elsewhere = content.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("://"), "{name}");
        }
    }
}
