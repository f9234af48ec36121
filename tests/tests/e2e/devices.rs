//! The families of devices in the book: each from `flow new --preset` to the query and its answer.

use crate::flows::told;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;

const BOOK: &str = include_str!("../../../docs/devices.md");

/// A chapter of the book.
struct Chapter<'a> {
    preset: &'a str,
    /// Topic and payload.
    messages: Vec<(&'a str, &'a str)>,
    /// Of the query's answer.
    columns: Vec<&'a str>,
    /// The query from its `FROM` on.
    source: &'a str,
    rows: Vec<Vec<&'a str>>,
}

fn chapters() -> Vec<Chapter<'static>> {
    BOOK.split("\n## ").skip(1).map(chapter).collect()
}

fn chapter(text: &str) -> Chapter<'_> {
    let (_, after) = text.split_once("```messages ").expect("messages");
    let (preset, after) = after.split_once('\n').expect("the preset's name");
    let (messages, after) = after.split_once("```").expect("the end of the messages");
    let (_, after) = after.split_once("```sql\n").expect("a query");
    let (query, answer) = after.split_once("```").expect("the end of the query");
    let mut table = answer.lines().filter(|line| line.starts_with('|'));
    Chapter {
        preset,
        messages: messages.lines().map(|line| line.split_once(' ').expect("topic and payload")).collect(),
        columns: cells_of(table.next().expect("the columns")),
        source: &query[query.find("FROM").expect("FROM")..],
        rows: table.skip(1).map(cells_of).collect(),
    }
}

fn cells_of(line: &str) -> Vec<&str> {
    line.trim_matches(['|', ' ']).split('|').map(str::trim).collect()
}

/// Numbers are compared as such: 40 and 40.0 are one.
fn is_equal(found: &str, wanted: &str) -> bool {
    match (found.parse::<f64>(), wanted.parse::<f64>()) {
        (Ok(found), Ok(wanted)) => found.to_bits() == wanted.to_bits(),
        _ => found == wanted,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_of_devices_ends_in_the_table_that_the_book_shows() {
    each_chapter_holds(None, '"').await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_of_devices_ends_in_the_same_table_of_mariadb() {
    each_chapter_holds(Some(Database::mariadb().await), '`').await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_of_devices_ends_in_the_same_table_of_postgresql() {
    each_chapter_holds(Some(Database::postgres().await), '"').await;
}

/// On a server, or else in the gateway's own file. Names stand between quotes: those of `rtl_433` have capitals.
async fn each_chapter_holds(server: Option<Database>, quote: char) {
    let home = Home::new();
    let url = server.as_ref().map(|database| format!("[database]\nurl = \"{}\"\n", database.url));
    home.configure(&format!("[broker]\nenabled = true\n{}", url.unwrap_or_default()));
    let chapters = chapters();
    assert!(chapters.len() >= 10);
    for chapter in &chapters {
        let file = format!("{}.toml", chapter.preset);
        let written = told(&home, &["flow", "new", "--preset", chapter.preset]);
        std::fs::write(home.path().join(&file), written).expect("writing");
        told(&home, &["flow", "import", &file]);
        for (topic, payload) in &chapter.messages {
            told(&home, &["flow", "test", &file, "--topic", topic, "--payload", payload]);
        }
    }
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = match server {
        Some(database) => database,
        None => Database::sqlite(home.path()).await,
    };
    let mut client = Client::connect(home.mqtt, "devices").await;
    for chapter in &chapters {
        for (topic, payload) in &chapter.messages {
            client.publish(topic, *payload).await;
        }
        client.confirmed(chapter.messages.len()).await;
        let text = |column: &&str| format!("coalesce(trim(CAST({quote}{column}{quote} AS CHAR(100))), 'NULL')");
        let columns = chapter.columns.iter().map(text).collect::<Vec<_>>().join(", ");
        let query = format!("SELECT concat_ws('|', {columns}) {}", chapter.source);
        until(chapter.preset, async || {
            let found = database.texts(&query).await.ok()?;
            let is_row = |(found, wanted): (&String, &Vec<&str>)| {
                found.split('|').zip(wanted).all(|(found, wanted)| is_equal(found, wanted))
            };
            (found.len() == chapter.rows.len() && found.iter().zip(&chapter.rows).all(is_row)).then_some(())
        })
        .await;
    }
    let letters = told(&home, &["dlq", "list"]);
    assert!(letters.starts_with("0 in all"), "{letters}");
}
