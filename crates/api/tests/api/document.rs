//! The OpenAPI document and the router are the same, and each operation asks for the right that it says.

use crate::gateway::{Gateway, TOKEN};
use serde_json::Value;

/// Method, path with something in place of its parameters, and scope of each operation.
async fn operations(gateway: &Gateway) -> Vec<(String, String, String)> {
    let document: Value = gateway.ask("GET /api/v1/openapi.json", &[]).await.json();
    let paths = document["paths"].as_object().expect("paths").clone();
    let mut operations = Vec::new();
    for (path, methods) in paths {
        let filled: Vec<&str> =
            path.split('/').map(|segment| if segment.starts_with('{') { "1" } else { segment }).collect();
        for (method, operation) in methods.as_object().expect("methods") {
            let scope = operation["x-scope"].as_str().expect("a scope").to_owned();
            operations.push((method.to_uppercase(), filled.join("/"), scope));
        }
    }
    assert!(operations.len() > 30, "{operations:?}");
    operations
}

#[actix::test]
async fn every_operation_of_the_document_is_served_and_no_other_method_is() {
    let gateway = Gateway::open(false);
    let operations = operations(&gateway).await;
    for (method, path, _) in &operations {
        if path.ends_with("/events") {
            continue; // it does not end
        }
        let reply = gateway.ask(&format!("{method} {path}"), &["If-Match: \"1\""]).await;
        assert!(
            !reply.body.contains("no-such-path") && !reply.body.contains("wrong-method"),
            "{method} {path}: {reply:?}"
        );
        assert!(reply.status < 500, "{method} {path}: {reply:?}");
        if reply.status >= 400 {
            reply.problem();
        }
        for other in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if operations.iter().all(|(known, at, _)| known != other || at != path) {
                let reply = gateway.ask(&format!("{other} {path}"), &[]).await;
                // Another pattern may take it: `flows/test` is also a `flows/{code}`.
                assert!(reply.status == 405 || reply.status == 428 || reply.status == 404, "{other} {path}: {reply:?}");
            }
        }
    }
}

#[actix::test]
async fn every_operation_that_is_not_open_needs_the_token() {
    let gateway = Gateway::open(true);
    let wrong = "Authorization: Bearer a-token-for-tests-onlz";
    for (method, path, scope) in operations(&gateway).await {
        let request = format!("{method} {path}");
        if scope == "open" {
            continue;
        }
        assert_eq!(gateway.ask(&request, &[]).await.problem(), (401, "token-missing".into()), "{request}");
        assert_eq!(gateway.ask(&request, &[wrong]).await.problem(), (403, "token-wrong".into()), "{request}");
        for trick in
            [path.replace("/api/", "/%61pi/"), format!("/{path}"), format!("{path}/"), format!("/page/..{path}")]
        {
            let reply = gateway.ask(&format!("{method} {trick}"), &[]).await;
            assert!(matches!(reply.status, 400..=405), "{method} {trick}: {reply:?}");
        }
    }
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(gateway.ask("GET /api/v1/sessions", &[&right]).await.status, 200);
}
