//! "Did you mean": the known word that is nearest to one that is not.

/// The known word that was probably meant.
pub fn nearest_word<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written, word), word))
        .filter(|(distance, word)| *distance < word.len() && *distance <= 1 + word.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// What is said of a word that is not among the known ones: which those are, and which was probably meant.
#[must_use]
pub fn unknown_word(written: &str, known: &[&str]) -> String {
    let meant = nearest_word(written, known.iter().copied()).map(|word| format!("; did you mean {word:?}?"));
    format!("{written:?} is none of {}{}", known.join(", "), meant.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_another_word_does_not() {
        assert_eq!(nearest_word("optinal", ["from", "optional"]), Some("optional"));
        assert_eq!(nearest_word("humidity", ["from", "optional"]), None);
        let keys = ["keep_alive", "server", "client_id"];
        assert_eq!(nearest_word("keepalive", keys), Some("keep_alive"));
        assert_eq!(nearest_word("sevrer", keys), Some("server"));
        assert_eq!(unknown_word("form", &["from", "as"]), "\"form\" is none of from, as; did you mean \"from\"?");
    }
}
