//! All shapes that the presets' files hold, through broker and journal: each record has a row or a dead letter, as its file
//! says. What the rows hold is tried beside the files.

use crate::flows::told;
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::http::request;
use hearthgate_tests::until;
use std::fs;
use std::path::Path;

const FOLDER: &str = "../crates/gateway/src/commands/flow/preset/tests";

/// A message of a family, with what becomes of its records.
struct Shape {
    topic: String,
    payload: String,
    taken: usize,
    refused: usize,
}

/// The presets with the shapes of each. An empty payload takes a retained message away, and is none.
fn families() -> Vec<(String, Vec<Shape>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let files = fs::read_dir(folder).expect("the shapes").map(|file| file.expect("a file").path());
    let shapes = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).map(|path| {
        let text = fs::read_to_string(&path).expect("a file of shapes");
        let preset = path.file_stem().expect("its name").to_string_lossy().into_owned();
        (preset, text.trim_end().split("\n\n").map(shape).filter(|shape| !shape.payload.is_empty()).collect())
    });
    shapes.collect()
}

fn shape(text: &str) -> Shape {
    let mut lines = text.lines().skip(1);
    let message = lines.next().expect("a message");
    let (topic, payload) = message.split_once(' ').unwrap_or((message, ""));
    let outcomes = lines.next().and_then(|line| line.strip_prefix("= ")).expect("its outcome");
    let refused = outcomes.split(" | ").filter(|outcome| outcome.starts_with("refused: ")).count();
    let is_none = |outcome: &&str| outcome.starts_with("skipped: ") || *outcome == "no flow";
    let passed_over = outcomes.split(" | ").filter(is_none).count();
    let taken = outcomes.split(" | ").count() - refused - passed_over;
    Shape { topic: topic.to_owned(), payload: payload.to_owned(), taken, refused }
}

/// Messages that a flow's `on_change` has kept back.
fn kept_back(home: &Home) -> usize {
    let (_, metrics) = request(home.http, "GET", "/metrics").expect("the metrics");
    let line = metrics.lines().find(|line| line.starts_with("hearthgate_journal") && line.contains("kept_back"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

async fn each_shape_ends(server: Option<Database>, preset: &str, shapes: &[Shape]) {
    let home = Home::new();
    let url = server.as_ref().map(|database| format!("[database]\nurl = \"{}\"\n", database.url));
    home.configure(&format!("[broker]\nenabled = true\n{}", url.unwrap_or_default()));
    fs::write(home.path().join("flows.toml"), told(&home, &["flow", "new", "--preset", preset])).expect("writing");
    told(&home, &["flow", "import", "flows.toml"]);
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = match server {
        Some(database) => database,
        None => Database::sqlite(home.path()).await,
    };
    let mut client = Client::connect(home.mqtt, "devices").await;
    for shape in shapes {
        client.publish(&shape.topic, shape.payload.as_str()).await;
    }
    client.confirmed(shapes.len()).await;
    let taken: usize = shapes.iter().map(|shape| shape.taken).sum();
    let refused: usize = shapes.iter().map(|shape| shape.refused).sum();
    until(preset, async || {
        let numbers = database.texts("SELECT trim(CAST(last_msg_id AS CHAR(20))) FROM flows").await.ok()?;
        let stored: usize = numbers.iter().filter_map(|number| number.parse::<usize>().ok()).sum();
        let letters = told(&home, &["dlq", "list", "--json", "--limit", "1000"]);
        let letters = letters.lines().filter(|line| line.starts_with('{')).count();
        let is_all = stored + kept_back(&home) == taken;
        (is_all && letters == refused).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shape_of_a_family_has_its_rows_and_letters() {
    let families = families();
    assert!(families.len() >= 10);
    for (preset, shapes) in &families {
        each_shape_ends(None, preset, shapes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shape_of_a_family_has_its_rows_and_letters_with_mariadb() {
    for (preset, shapes) in &families() {
        each_shape_ends(Some(Database::mariadb().await), preset, shapes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shape_of_a_family_has_its_rows_and_letters_with_postgresql() {
    for (preset, shapes) in &families() {
        each_shape_ends(Some(Database::postgres().await), preset, shapes).await;
    }
}
