//! `GET /api/v1/openapi.json`: the API as `OpenAPI` 3.1, made of its types.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;

use super::sessions;

/// What is answered, and by whom.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sessionscope",
        description = "Sessions of a node, as its agent measures them. Times are seconds, times of day seconds since the epoch; a \
                       value that is not known is null. New fields may come with any version; none changes its meaning.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        sessions::sessions,
        sessions::one,
        sessions::history::history,
        sessions::processes::processes,
        sessions::past::ended,
        sessions::node::node,
        sessions::node::agent,
    )
)]
struct Document;

/// It stays the same as long as the agent runs.
static TEXT: LazyLock<String> = LazyLock::new(|| Document::openapi().to_json().unwrap_or_default());

/// Answers with the document.
pub(super) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, TEXT.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::metrics::http::Path;

    #[test]
    fn each_path_of_the_api_is_described_and_each_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&TEXT).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let described: Vec<&str> = paths.keys().map(String::as_str).collect();
        let mut served: Vec<&str> = Path::ALL.iter().map(|path| path.name()).collect();
        served.retain(|path| path.starts_with("/api/") && *path != Path::OpenApi.name());
        served.sort_unstable();
        assert_eq!(described, served);
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#/").skip(1) {
            let pointer = format!("/{}", reference.split('"').next().unwrap());
            assert!(document.pointer(&pointer).is_some(), "{pointer}");
        }
        let id = &document["components"]["schemas"]["Session"]["properties"]["id"];
        assert!(
            id["description"]
                .as_str()
                .unwrap()
                .contains("32 hexadecimal digits")
        );
    }
}
