//! Map files: reading them, and saying what is wrong with one, where.

use crate::mapping::error::{MapError, MapProblem, check_root};
use crate::mapping::field::MapField;
use crate::mapping::keywords::{KeywordLookup, KeywordMaps, KeywordRule, KeywordTable};
use crate::payload::{JsonKind, JsonPayload, PayloadError, PayloadField, RawJson};
use crate::topic::TopicFilter;
use std::borrow::Cow;
use std::collections::HashMap;

impl KeywordMaps {
    /// Reads a map file; a byte order mark before the text is passed over.
    ///
    /// # Errors
    /// The text is not JSON, or not a map file; the error names the field, the keyword, and the line.
    pub fn from_json(text: &str) -> Result<Self, MapError> {
        Reader { text: text.strip_prefix('\u{feff}').unwrap_or(text) }.maps()
    }
}

struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn maps(&self) -> Result<KeywordMaps, MapError> {
        let file = JsonPayload::parse_text(self.text).map_err(|error| self.unreadable(error))?;
        let (mut root, mut topics) = (None, None);
        let mut tables: [KeywordTable; 8] = Default::default();
        for PayloadField { name, value } in file.fields() {
            match name.as_ref() {
                "root" => root = Some(self.root(value)?),
                "topics" => topics = Some(self.topics(value)?),
                name => match MapField::ALL.into_iter().find(|field| field.name() == name) {
                    Some(field) => tables[field as usize] = self.table(field, value)?,
                    None => return Err(self.at(value, MapProblem::UnknownKey { key: name.into() })),
                },
            }
        }
        let missing = |key: &str| MapError { line: None, problem: MapProblem::Missing { key: key.into() } };
        Ok(KeywordMaps {
            root: root.ok_or_else(|| missing("root"))?,
            topics: topics.ok_or_else(|| missing("topics"))?,
            tables,
        })
    }

    fn root(&self, value: &RawJson<'a>) -> Result<Box<str>, MapError> {
        let root = self.string(value, "root")?;
        check_root(&root).map_err(|error| self.at(value, error.problem))?;
        Ok(root.into())
    }

    fn topics(&self, value: &RawJson<'a>) -> Result<Vec<TopicFilter>, MapError> {
        let parse = |item: &RawJson<'a>| {
            let filter = self.string(item, "topics")?;
            TopicFilter::parse(&filter).map_err(|error| self.at(item, MapProblem::Topic(error)))
        };
        self.items(value, "topics")?.iter().map(parse).collect()
    }

    fn table(&self, field: MapField, value: &RawJson<'a>) -> Result<KeywordTable, MapError> {
        let (mut rule, mut map) = (None, None);
        for PayloadField { name, value } in self.object(value, field.name())?.fields() {
            match name.as_ref() {
                "maptype" => rule = Some(self.rule(field, value)?),
                "map" => map = Some(self.object(value, &format!("{field}.map"))?),
                other => {
                    let key = format!("{field}.{other}").into();
                    return Err(self.at(value, MapProblem::UnknownKey { key }));
                }
            }
        }
        let missing = || MapProblem::Missing { key: format!("{field}.maptype").into() };
        let rule = rule.ok_or_else(|| self.at(value, missing()))?;
        match (map, rule) {
            (Some(map), rule) => self.filled_table(field, rule, &map),
            (None, KeywordRule::None) => Ok(KeywordTable::default()),
            (None, KeywordRule::Loose) => Err(self.at(value, MapProblem::NoMap { field, maptype: "loose" })),
            (None, KeywordRule::Strict) => Err(self.at(value, MapProblem::NoMap { field, maptype: "strict" })),
        }
    }

    fn rule(&self, field: MapField, value: &RawJson<'a>) -> Result<KeywordRule, MapError> {
        match self.string(value, &format!("{field}.maptype"))?.as_ref() {
            "none" => Ok(KeywordRule::None),
            "loose" => Ok(KeywordRule::Loose),
            "strict" => Ok(KeywordRule::Strict),
            other => Err(self.at(value, MapProblem::MapType { field, found: other.into() })),
        }
    }

    fn filled_table(
        &self,
        field: MapField,
        rule: KeywordRule,
        map: &JsonPayload<'a>,
    ) -> Result<KeywordTable, MapError> {
        let mut to_mqtt: Vec<(Box<str>, Box<str>)> = Vec::new();
        let mut to_internal: HashMap<Box<str>, Box<str>> = HashMap::new();
        for PayloadField { name: internal, value } in map.fields() {
            let aliases = self.aliases(field, internal, value)?;
            let first = aliases.first();
            let first = first
                .ok_or_else(|| self.at(value, MapProblem::EmptyList { field, keyword: internal.as_ref().into() }))?;
            to_mqtt.push((internal.as_ref().into(), first.as_ref().into()));
            for mqtt in &aliases {
                let before = to_internal.insert(mqtt.as_ref().into(), internal.as_ref().into());
                let Some(first) = before.filter(|before| **before != **internal) else { continue };
                let (mqtt, second) = (mqtt.as_ref().into(), internal.as_ref().into());
                return Err(self.at(value, MapProblem::Ambiguous { field, mqtt, first, second }));
            }
        }
        // An empty map leaves every keyword as it is, whatever the rule.
        let rule = if to_mqtt.is_empty() { KeywordRule::None } else { rule };
        Ok(KeywordTable {
            rule,
            to_mqtt: KeywordLookup::new(to_mqtt),
            to_internal: KeywordLookup::new(to_internal.into_iter().collect()),
        })
    }

    fn aliases(&self, field: MapField, internal: &str, value: &RawJson<'a>) -> Result<Vec<Cow<'a, str>>, MapError> {
        if let Some(text) = value.as_str() {
            let problem = MapProblem::PlainText { field, keyword: internal.into(), value: text.into_owned().into() };
            return Err(self.at(value, problem));
        }
        let key = format!("{field}.map.{internal}");
        self.items(value, &key)?.iter().map(|item| self.string(item, &key)).collect()
    }

    fn object(&self, value: &RawJson<'a>, key: &str) -> Result<JsonPayload<'a>, MapError> {
        if value.kind() != JsonKind::Object {
            return Err(self.wrong_type(value, key, "an object"));
        }
        JsonPayload::parse_text(value.text()).map_err(|error| self.at(value, MapProblem::Json(error)))
    }

    fn items(&self, value: &RawJson<'a>, key: &str) -> Result<Vec<RawJson<'a>>, MapError> {
        value.items().ok_or_else(|| self.wrong_type(value, key, "a list of texts"))
    }

    fn string(&self, value: &RawJson<'a>, key: &str) -> Result<Cow<'a, str>, MapError> {
        value.as_str().ok_or_else(|| self.wrong_type(value, key, "a text"))
    }

    fn wrong_type(&self, value: &RawJson<'a>, key: &str, expected: &'static str) -> MapError {
        self.at(value, MapProblem::WrongType { key: key.into(), expected, found: value.kind() })
    }

    fn at(&self, value: &RawJson<'a>, problem: MapProblem) -> MapError {
        // A value's text is a part of the file's text.
        let offset = (value.text().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        MapError { line: Some(self.line(offset)), problem }
    }

    fn unreadable(&self, error: PayloadError) -> MapError {
        let offset = match &error {
            PayloadError::Syntax { offset, .. }
            | PayloadError::LoneSurrogate { offset }
            | PayloadError::NotUtf8 { offset }
            | PayloadError::TooDeep { offset } => *offset,
            PayloadError::Empty | PayloadError::NotAnObject { .. } => 0,
        };
        MapError { line: Some(self.line(offset)), problem: MapProblem::Json(error) }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        KeywordMaps::from_json(text).unwrap_err().to_string()
    }

    fn with_field(field: &str) -> String {
        format!("{{\n\"root\": \"r\",\n\"topics\": [\"r/#\"],\n{field}\n}}")
    }

    #[test]
    fn errors_name_line_field_and_keyword() {
        let ambiguous =
            "\"action\": {\"maptype\": \"loose\", \"map\": {\n \"ON\": [\"on\"],\n \"OFF\": [\"off\", \"on\"]}}";
        assert_eq!(
            refused(&with_field(ambiguous)),
            "line 6: action: the MQTT keyword \"on\" stands under both \"ON\" and \"OFF\""
        );
        let plain = "\"device\": {\"maptype\": \"strict\", \"map\": {\n\"gate\": \"Gate\"}}";
        assert_eq!(
            refused(&with_field(plain)),
            "line 5: device: \"gate\" has the plain text \"Gate\"; write the internal keyword with the list of its MQTT \
             keywords, such as \"Gate\": [\"gate\"]"
        );
        assert_eq!(
            refused(&with_field("\"sender\": {\"maptype\": \"sometimes\"}")),
            "line 4: sender: maptype is none, loose or strict, not \"sometimes\""
        );
        assert!(refused(&with_field("\"sender\": {\"maptype\": \"strict\"}")).contains("needs a map"));
        assert!(refused(&with_field("\"lcoation\": {\"maptype\": \"none\"}")).starts_with("line 4: unknown key"));
        assert!(refused(&with_field("\"action\": {\"maptype\": \"loose\", \"map\": {\"A\": []}}")).contains("empty"));
        assert!(refused("{\"root\": \"r\",\n\"topics\": [\"a/#/b\"]}").starts_with("line 2: topics: "));
        assert!(refused("{\"root\": 1, \"topics\": []}").contains("root must be a text, not integer"));
        assert!(refused("{\"topics\": []}").contains("root is missing"));
        assert!(refused("{\n\n  oops}").starts_with("line 3: the map file cannot be read"));
    }

    #[test]
    fn an_empty_map_counts_as_none() {
        let maps = KeywordMaps::from_json(&with_field("\"action\": {\"maptype\": \"strict\", \"map\": {}}")).unwrap();
        assert!(maps.table(MapField::Action).to_mqtt("anything").is_ok());
    }

    #[test]
    fn a_root_or_topic_that_cannot_work_is_warned_about() {
        let topics = ["home/#", "home/+/+/+/+/+/C", "home/+", "a/b/c/d/e/f/g/h/#"];
        let topics = topics.map(|filter| TopicFilter::parse(filter).unwrap()).to_vec();
        let warnings = KeywordMaps::none("home/og", topics).unwrap().warnings();
        assert_eq!(warnings.len(), 3);
        assert!(warnings[1].contains("home/+ ") && warnings[2].contains("a/b/c/d/e/f/g/h/#"));
        assert!(KeywordMaps::none("a/+", Vec::new()).is_err());
    }
}
