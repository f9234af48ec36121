//! The way to the database: encrypted by a server that is who it should be, and told when it is not.

use crate::certificates::write_certificates;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::server::{Kind, Server};
use std::fs;
use tokio::task::block_in_place;

/// What `check` says of the database, and its exit code.
fn check(home: &Home, url: &str, tls: &str) -> (Option<i32>, String) {
    home.configure(&format!("[database]\nurl = \"{url}\"\n[database.tls]\n{tls}\n"));
    let output = home.command().arg("check").output().expect("running check");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" database: ")).collect();
    (output.status.code(), lines.join("\n"))
}

async fn only_a_server_with_the_right_certificate_is_let_in(kind: Kind) {
    let home = Home::new();
    let strangers = home.path().join("strangers");
    fs::create_dir(&strangers).expect("a folder");
    write_certificates(&strangers, &[], &[]);
    write_certificates(home.path(), &["server"], &["localhost"]);
    let read = |name: &str| fs::read_to_string(home.path().join(name)).expect("a file");
    let server = block_in_place(|| Server::start_encrypted(kind, &read("server.pem"), &read("server.key")));
    let by_address = Database::create(&server.admin_url()).await.url;
    let by_name = by_address.replace("127.0.0.1", "localhost");

    let (code, found) = check(&home, &by_name, "mode = \"verify-full\"\nca = \"strangers/ca.pem\"");
    assert!(code == Some(69) && found.contains("certificate") && found.contains("database.tls"), "{found}");
    let (code, found) = check(&home, &by_address, "mode = \"verify-full\"\nca = \"ca.pem\"");
    assert!(code == Some(69) && found.contains("certificate"), "the name counts: {found}");
    let (code, found) = check(&home, &by_address, "mode = \"verify-ca\"\nca = \"ca.pem\"");
    assert!(code == Some(0) && found.starts_with("ok "), "the name does not count: {found}");
    let (code, found) = check(&home, &by_name, "mode = \"verify-full\"\nca = \"ca.pem\"");
    assert!(code == Some(0) && found.starts_with("ok "), "{found}");
    // From everywhere, and encrypted without a word of it.
    let (code, found) = check(&home, &by_address.replace("127.0.0.1", "0.0.0.0"), "");
    assert!(code == Some(0) && !found.contains("not encrypted"), "{found}");
    home.configure(&format!(
        "[database]\nurl = \"{by_name}\"\n[database.tls]\nmode = \"verify-full\"\nca = \"ca.pem\"\n"
    ));
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    assert!(gateway.terminate().0.success());
}

async fn a_connection_to_elsewhere_without_encryption_is_told(kind: Kind) {
    let server = block_in_place(|| Server::start(kind));
    let here = Database::create(&server.admin_url()).await.url;
    // No address of loopback, and yet this machine.
    let elsewhere = here.replace("127.0.0.1", "0.0.0.0");
    let home = Home::new();
    let (code, found) = check(&home, &elsewhere, "");
    assert!(code == Some(0) && found.contains("not encrypted") && found.contains("set database.tls.mode"), "{found}");
    let (code, found) = check(&home, &elsewhere, "mode = \"require\"");
    assert!(code == Some(69) && found.contains("TLS"), "{found}");
    let (_, found) = check(&home, &here, "");
    assert!(!found.contains("not encrypted"), "{found}");
    home.configure(&format!("[database]\nurl = \"{elsewhere}\"\n"));
    let mut gateway = home.start();
    gateway.wait_for_log(&["WARN", "the connection to the database is not encrypted"]);
    assert!(gateway.terminate().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_mariadb_with_the_right_certificate_is_let_in() {
    only_a_server_with_the_right_certificate_is_let_in(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_postgres_with_the_right_certificate_is_let_in() {
    only_a_server_with_the_right_certificate_is_let_in(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_mariadb_elsewhere_without_encryption_is_told() {
    a_connection_to_elsewhere_without_encryption_is_told(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_postgres_elsewhere_without_encryption_is_told() {
    a_connection_to_elsewhere_without_encryption_is_told(Kind::Postgres).await;
}
