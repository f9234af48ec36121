//! Commands that answer JSON lines with JSON lines, in order.

use crate::exit::ExitStatus;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};

/// Answers each line of `input` with one line. A line that is not what is expected gets `{"error": …}`.
///
/// # Errors
/// Reading or writing fails.
pub(super) fn answer<Q: DeserializeOwned>(
    input: impl Read,
    output: impl Write,
    mut question: impl FnMut(Q) -> Value,
) -> anyhow::Result<ExitStatus> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut output = BufWriter::with_capacity(64 << 10, output);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let answer = match serde_json::from_slice::<Q>(&line) {
            Ok(asked) => question(asked),
            Err(error) => json!({"error": format!("this line can't be read: {error}")}),
        };
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        line.clear();
        // Whoever asks one line at a time waits for the answer.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    output.flush()?;
    Ok(ExitStatus::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &[u8]) -> Vec<Value> {
        let mut output = Vec::new();
        answer(input, &mut output, |asked: Value| json!({"ok": asked})).unwrap();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn each_line_has_its_answer_and_a_bad_one_does_not_end_it() {
        let answers = answers(b"1\n{\n\n\xff\xfe\n2");
        assert_eq!(answers.len(), 5);
        assert_eq!((&answers[0], &answers[4]), (&json!({"ok": 1}), &json!({"ok": 2})));
        assert!(answers[1..4].iter().all(|answer| answer["error"].is_string()), "{answers:?}");
    }

    #[test]
    fn ten_thousand_levels_of_nesting_are_an_error_of_that_line() {
        let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
        assert!(answers(&deep)[0]["error"].is_string());
    }
}
