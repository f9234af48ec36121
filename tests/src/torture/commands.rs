//! The interface that carries out commands, and the account of what it has carried out.

use super::driver::Driver;
use super::lots::Lot;
use super::report::Outcome;
use anyhow::Context;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The program notes when it has been given which command.
pub(super) const PROGRAM: &str = r#"while IFS= read -r line; do
  case $line in
    '{"type":"hello"'*) echo '{"type":"ready"}' ;;
    '{"type":"ping"'*) id=${line#*'"id":'}; echo "{\"type\":\"pong\",\"id\":${id%\}}}" ;;
    '{"type":"message"'*) echo "$(date +%s%3N) $line" >> executed ;;
    '{"type":"stop"'*) exit 0 ;;
  esac
done
"#;
/// The interface's section; its program is in the file `bell.sh`.
pub(super) const SECTION: &str = r#"[interfaces.bell]
kind = "exec"
command = ["sh", "bell.sh"]
root = "house"
topics = ["house/+/+/+/bell/+/C", "house/+/+/attic/+/+/S"]
max_command_age = "1s"
"#;
const MAX_AGE: Duration = Duration::from_secs(1);
/// What a busy machine may need between the gateway's last look at a command's age and the program's look at its clock.
const SLACK: Duration = Duration::from_secs(2);

/// Counts what has been carried out, late and twice.
pub(super) fn count(driver: &Driver<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let sent = driver.load.publisher.first_sent();
    let mut times: HashMap<u64, u32> = HashMap::new();
    let noted = fs::read_to_string(driver.site.home.path().join("executed")).unwrap_or_default();
    for line in noted.lines() {
        let Some((at, index)) = execution(line).with_context(|| format!("a line of the bell: {line}"))? else {
            continue;
        };
        *times.entry(index).or_default() += 1;
        let published =
            usize::try_from(index).ok().and_then(|index| sent.get(index)).context("a command unheard of")?;
        let age = at.duration_since(*published).unwrap_or_default();
        if age > MAX_AGE + SLACK {
            outcome.executed_late += 1;
            outcome.complain(format!("command {index} was carried out {age:.1?} after it was published"));
        }
    }
    outcome.commands = (0..driver.load.sent()).filter(|index| Lot::of(*index) == Lot::Command).count();
    outcome.executed = times.len();
    outcome.executed_twice = times.values().filter(|times| **times > 1).count();
    Ok(())
}

/// When and which, if the line is about a command.
fn execution(line: &str) -> anyhow::Result<Option<(SystemTime, u64)>> {
    let (at, message) = line.split_once(' ').context("no time")?;
    let message: Value = serde_json::from_str(message)?;
    if message["message"]["iscmd"] != Value::Bool(true) {
        return Ok(None);
    }
    let index = message["message"]["arguments"]["n"].as_u64().context("no number")?;
    Ok(Some((UNIX_EPOCH + Duration::from_millis(at.parse()?), index)))
}
