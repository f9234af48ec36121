use crate::support::{PATIENCE, Running, put, start, until};
use hearthgate_interfaces::{DriverCount, DriverError, DriverEvent, DriverLogLevel};

/// An interface whose child is this shell script.
fn shell(options: &str, script: &str) -> String {
    let command = serde_json::json!(["sh", "-c", script]);
    format!("kind = \"exec\"\ncommand = {command}\n{options}\n")
}

/// Answers what the protocol asks for; `$on_message` is run for each message with its line in `$line`.
fn polite(on_message: &str) -> String {
    format!(
        r#"while IFS= read -r line; do
             case $line in
               '{{"type":"hello"'*) echo '{{"type":"ready"}}' ;;
               '{{"type":"ping"'*) id=${{line#*'"id":'}}; echo "{{\"type\":\"pong\",\"id\":${{id%\}}}}}}" ;;
               '{{"type":"message"'*) {on_message} ;;
               '{{"type":"stop"'*) echo '{{"type":"message","message":{{"action":"BYE"}}}}'; exit 0 ;;
             esac
           done"#
    )
}

const ECHO: &str = r#"printf '%s\n' "$line" "#;

async fn ready(options: &str, script: &str) -> Running {
    let mut driver = start(&shell(options, script));
    driver.online().await;
    driver
}

fn emissions(events: &[DriverEvent]) -> usize {
    events.iter().filter(|event| matches!(event, DriverEvent::Emit(_))).count()
}

fn alive(pid: &str) -> bool {
    // A zombie is dead; somebody only has not noticed yet.
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap_or_default().1.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn a_child_gets_its_hello_and_messages_and_its_own_messages_come_out() {
    let options = "name = \"gate\"\n[params]\nport = \"/dev/x\"\nlevels = [1, 2]";
    let script = polite(ECHO).replacen("echo '{", "echo \"$line\" >&2; echo '{", 1);
    let mut driver = start(&shell(options, &script));
    let wanted = |event: &DriverEvent| match event {
        DriverEvent::Log { level: DriverLogLevel::Info, text } => Some(text.clone()),
        _ => None,
    };
    let hello = driver.find("the hello", wanted).await;
    let hello: serde_json::Value = serde_json::from_str(&hello).unwrap();
    assert_eq!((&hello["type"], &hello["protocol"], &hello["name"]), (&"hello".into(), &1.into(), &"gate".into()));
    assert_eq!(hello["params"], serde_json::json!({"port": "/dev/x", "levels": [1, 2]}));
    driver.command_with("Größe \"x\"\n", &[("a", "1"), ("b", "2")]).await;
    let echoed = driver.emitted().await;
    assert_eq!(echoed.action, "Größe \"x\"\n");
    assert_eq!(echoed.arguments.keys().collect::<Vec<_>>(), ["a", "b"]);
    driver.stop().await.unwrap();
}

#[tokio::test]
async fn a_child_is_stopped_in_order_and_its_last_words_are_heard() {
    let mut driver = ready("", &polite(ECHO)).await;
    driver.command("LAST").await;
    assert_eq!(driver.emitted().await.action, "LAST");
    driver.ask_to_stop();
    let (events, ended) = driver.rest().await;
    ended.unwrap();
    assert_eq!(emissions(&events), 1, "{events:?}");
}

#[tokio::test]
async fn a_child_that_ignores_stop_and_the_end_of_its_input_is_killed_with_its_descendants() {
    let script = "trap '' TERM INT HUP; echo '{\"type\":\"ready\"}'; sleep 1000 & echo $! > pids; setsid sleep 1000 & echo $! >> pids; echo $$ >> pids; while :; do sleep 1000; done";
    let mut driver = ready("stop_timeout = \"50ms\"", script).await;
    let file = driver.folder.path().join("pids");
    until("the pids are written", || std::fs::read_to_string(&file).is_ok_and(|pids| pids.lines().count() == 3)).await;
    let pids = std::fs::read_to_string(&file).unwrap();
    assert!(pids.lines().all(alive), "{pids}");
    driver.ask_to_stop();
    let (events, ended) = driver.rest().await;
    ended.unwrap();
    assert!(format!("{events:?}").contains("stop_timeout"), "{events:?}");
    assert!(!pids.lines().any(alive), "{pids}");
}

#[tokio::test]
async fn dropping_the_driver_kills_the_child_and_its_descendants() {
    let script =
        "echo '{\"type\":\"ready\"}'; setsid sh -c 'sleep 1000 & echo $! > pid; wait' & while :; do sleep 1000; done";
    let driver = ready("", script).await;
    let file = driver.folder.path().join("pid");
    until("the pid is written", || std::fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n'))).await;
    let pid = std::fs::read_to_string(&file).unwrap();
    assert!(alive(&pid));
    drop(driver);
    until("the grandchild is dead", || !alive(&pid)).await;
}

#[tokio::test]
async fn what_a_child_leaves_running_ends_with_it() {
    let script = "sleep 1000 & echo $! > pid; exit 3";
    let mut driver = start(&shell("", script));
    let error = driver.ended().await.unwrap_err();
    assert_eq!(error.to_string(), "the child ended with exit code 3");
    let pid = std::fs::read_to_string(driver.folder.path().join("pid")).unwrap();
    assert!(!alive(&pid));
}

#[tokio::test]
async fn the_end_of_a_child_is_told_in_words() {
    for (script, words) in [
        ("exit 0", "the child ended with exit code 0"),
        ("kill -9 $$", "the child was killed by signal 9"),
        ("exec sleep 0.01", "the child ended with exit code 0"),
    ] {
        assert_eq!(start(&shell("", script)).ended().await.unwrap_err().to_string(), words, "{script}");
    }
    let mut driver = start("kind = \"exec\"\ncommand = [\"/no/such/program\"]");
    let (events, ended) = driver.rest().await;
    assert_eq!(ended.unwrap_err().to_string(), "the child ended with exit code 127");
    assert!(format!("{events:?}").contains("starting /no/such/program failed: No such file"), "{events:?}");
}

#[tokio::test]
async fn a_child_that_is_not_ready_in_time_is_given_up() {
    let mut driver = start(&shell("start_timeout = \"50ms\"", "sleep 1000"));
    assert!(matches!(driver.ended().await, Err(DriverError::NotReady { .. })));
}

#[tokio::test]
async fn a_silent_child_is_killed_and_one_that_answers_pings_is_not() {
    let options = "ping_interval = \"20ms\"\nping_timeout = \"100ms\"";
    let mut silent = ready(options, "echo '{\"type\":\"ready\"}'; exec sleep 1000").await;
    assert!(matches!(silent.ended().await, Err(DriverError::Silent { .. })));

    let options = "ping_interval = \"10ms\"\nping_timeout = \"30s\"";
    let script = polite(ECHO).replace("id=$", "echo ping >&2; id=$");
    let mut lively = ready(options, &script).await;
    for _ in 0..20 {
        lively.logged("ping").await;
    }
    lively.stop().await.unwrap();
}

#[tokio::test]
async fn a_flood_of_100_000_messages_loses_none() {
    let script = "echo '{\"type\":\"ready\"}'; seq -f '{\"type\":\"message\",\"message\":{\"action\":\"%.0f\"}}' 1 100000; exec sleep 1000";
    let mut driver = ready("", script).await;
    for number in 1..=100_000 {
        assert_eq!(driver.emitted().await.action, number.to_string());
    }
}

#[tokio::test]
async fn a_flood_of_garbage_is_counted_line_by_line_and_hardly_logged() {
    let script = "echo '{\"type\":\"ready\"}'; seq 1 100000; seq 1 100000 >&2";
    let mut driver = ready("", script).await;
    let (events, ended) = driver.rest().await;
    assert!(matches!(ended, Err(DriverError::Exited { .. })), "{ended:?}");
    let counted =
        |event: &&DriverEvent| matches!(event, DriverEvent::Counted { what: DriverCount::LineInvalid, by: 1 });
    assert_eq!(events.iter().filter(counted).count(), 100_000);
    let logged = events.iter().filter(|event| matches!(event, DriverEvent::Log { .. })).count();
    assert!((100..20_000).contains(&logged), "{logged}");
}

#[tokio::test]
async fn a_line_over_one_mebibyte_is_fatal() {
    let script = "echo '{\"type\":\"ready\"}'; head -c 1048577 /dev/zero | tr '\\0' x; exec sleep 1000";
    let mut driver = ready("", script).await;
    assert!(matches!(driver.ended().await, Err(DriverError::LineTooLong { .. })));
}

#[tokio::test]
async fn commands_that_a_child_does_not_read_are_refused_in_time_and_never_executed_late() {
    // It reads its hello, so that the first command gets into the pipe, and then nothing until it may go on.
    let script = format!(
        "IFS= read -r hello; echo '{{\"type\":\"ready\"}}'; until [ -e go ]; do sleep 0.01; done; {}",
        polite(ECHO)
    );
    let mut driver = ready("max_command_age = \"100ms\"", &script).await;
    for number in 0..12 {
        driver.command(&format!("LATE{number}")).await;
    }
    let mut late = Vec::new();
    for _ in 0..12 {
        let answer = driver.emitted().await;
        assert!(answer.arguments["reason"].as_str().unwrap().contains("max_command_age"), "{answer:?}");
        late.push(answer.action);
    }
    late.sort_unstable();
    late.dedup();
    assert_eq!(late.len(), 12, "each is answered once");
    std::fs::write(driver.folder.path().join("go"), "").unwrap();
    // The one that was in the pipe was taken back: the child reads nothing older than this one.
    until_read(&mut driver).await;
}

async fn until_read(driver: &mut Running) {
    let since = std::time::Instant::now();
    loop {
        driver.command("NOW").await;
        let message = driver.emitted().await;
        assert_eq!(message.action, "NOW", "a late command was executed");
        if message.iscmd {
            return;
        }
        assert!(since.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn what_a_crashed_child_had_not_read_is_first_in_line_for_the_next_one() {
    // The first child reads the hello and nothing more, and dies when told to; the second one is polite.
    let script = format!(
        "if mkdir first; then IFS= read -r hello; echo '{{\"type\":\"ready\"}}'; until [ -e die ]; do sleep 0.01; done; exit 1; fi; {}",
        polite(ECHO)
    );
    let mut driver = ready("max_command_age = \"60s\"", &script).await;
    for action in ["A", "B", "C"] {
        driver.command(action).await;
    }
    std::fs::write(driver.folder.path().join("die"), "").unwrap();
    assert!(matches!(driver.ended().await, Err(DriverError::Exited { .. })));
    driver.restart();
    driver.online().await;
    for action in ["A", "B", "C"] {
        assert_eq!(driver.emitted().await.action, action);
    }
}

#[tokio::test]
async fn a_command_that_ends_its_child_is_not_handed_over_again() {
    let script = polite(&format!("case $line in *DIE*) exit 1 ;; *) {ECHO} ;; esac"));
    let mut driver = ready("max_command_age = \"60s\"", &script).await;
    for number in 0..30 {
        driver.command("DIE").await;
        driver.command(&format!("N{number}")).await;
        assert!(matches!(driver.ended().await, Err(DriverError::Exited { .. })));
        driver.restart();
        driver.online().await;
        assert_eq!(driver.emitted().await.action, format!("N{number}"));
    }
}

#[tokio::test]
async fn a_child_that_kills_its_process_group_harms_nobody_else() {
    let mut driver = start(&shell("", "echo '{\"type\":\"ready\"}'; kill -9 0"));
    assert_eq!(driver.ended().await.unwrap_err().to_string(), "the child was killed by signal 9");
}

#[tokio::test]
async fn many_messages_go_to_a_child_that_reads_them() {
    let mut driver = ready("max_command_age = \"60s\"", &polite(ECHO)).await;
    let sender = std::mem::replace(&mut driver.commands, hearthgate_interfaces::CommandQueue::new(1).0);
    let message = |number: usize| hearthgate_domain::mapping::internal_msg::InternalMsg {
        iscmd: true,
        action: number.to_string(),
        ..Default::default()
    };
    let send = async {
        for number in 0..500 {
            let command = hearthgate_interfaces::DeviceCommand {
                message: message(number),
                received_at: std::time::Instant::now(),
            };
            put(&sender, command).await;
        }
    };
    tokio::join!(send, async {
        for number in 0..500 {
            assert_eq!(driver.emitted().await.action, number.to_string());
        }
    });
}
