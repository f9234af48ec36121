//! `hearthgate backfill` beside a gateway that stores live messages, killed again and again.

use crate::flows::{hearthgate, told};
use hearthgate_tests::client::Client;
use hearthgate_tests::database::Database;
use hearthgate_tests::gateway::Home;
use hearthgate_tests::until;
use std::process::Stdio;
use std::time::Duration;

const OLD: usize = 4_000;
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_in_the_flows_table_once_however_often_the_backfill_is_killed() {
    let home = Home::new();
    home.configure("[broker]\nenabled = true\n");
    let mut gateway = home.start();
    gateway.wait_for_log(&["flows loaded"]);
    let database = Database::sqlite(home.path()).await;
    told(&home, &["flow", "add", "OLD", "--topic", "old/{room}", "--schema", r#"{"t":"float"}"#]);
    let mut client = Client::connect(home.mqtt, "sensor").await;
    for number in 0..OLD {
        client.publish("old/hall", format!(r#"{{"t":{number}.5}}"#)).await;
    }
    client.confirmed(OLD).await;
    let last = "SELECT last_msg_id FROM flows WHERE code = 'OLD'";
    let stored = until("the old messages", async || {
        // The first ones came before the subscription.
        let stored = database.number(last).await;
        let newest =
            format!("SELECT COUNT(*) FROM data WHERE attribute_name = 't' AND attribute_value = '{}.5'", OLD - 1);
        (database.number(&newest).await == 1).then_some(stored)
    })
    .await;
    let none = hearthgate(&home, &["backfill", "OLD", "--since", "1d", "--dry-run"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("no table of its own"), "{none:?}");
    told(&home, &["flow", "edit", "OLD", "--options", r#"{"table":"old"}"#, "--yes"]);
    let dry = hearthgate(&home, &["backfill", "OLD", "--since", "1d", "--dry-run"]);
    let text = String::from_utf8_lossy(&dry.stdout);
    assert!(
        dry.status.code() == Some(1) && text.contains("have no row") && text.contains("adds room hall, t "),
        "{dry:?}"
    );
    assert_eq!(database.number("SELECT COUNT(*) FROM old").await, 0, "nothing is written");
    let refused = hearthgate(&home, &["backfill", "OLD", "--since", "1d"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes"), "{refused:?}");

    let backfill = ["backfill", "OLD", "--since", "1d", "--yes"];
    for _ in 0..KILLS {
        let mut running = home.command();
        running.args(backfill).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = running.spawn().expect("running the command line");
        for number in 0..20 {
            client.publish("old/hall", format!(r#"{{"t":{number}.25}}"#)).await;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..600))).await;
        running.kill().expect("killing it");
        running.wait().expect("its end");
        client.confirmed(20).await;
    }
    let done = told(&home, &backfill);
    assert!(done.contains("done: "), "{done}");
    let all = stored + 20 * i64::try_from(KILLS).expect("a few");
    until("the live messages", async || (database.number(last).await == all).then_some(())).await;
    assert_eq!(database.number("SELECT COUNT(*) FROM old").await, all);
    assert_eq!(database.number("SELECT COUNT(DISTINCT last_msg_id) FROM old").await, all, "each once");
    let same = "SELECT COUNT(*) FROM old o JOIN data d ON d.flow_code = 'OLD' AND d.attribute_name = 't' \
                AND d.last_msg_id = o.last_msg_id AND CAST(d.attribute_value AS REAL) = o.t AND d.received_at = o.received_at";
    assert_eq!(database.number(same).await, all, "with what data has of it");
    let again = told(&home, &["backfill", "OLD", "--since", "1d", "--dry-run"]);
    assert!(again.contains(&format!("{all}  have the row that they should have")), "{again}");
    let (status, log) = gateway.terminate();
    assert!(status.success(), "{log}");
}
