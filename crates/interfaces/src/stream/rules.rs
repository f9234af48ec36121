//! The rules of a byte stream, compiled: which frame means which messages, which command writes which bytes.

use super::error::{CommandRefusal, PatternError};
use super::pattern::{CapturedFields, FramePattern, FrameTemplate};
use crate::config::{FrameEncoding, InterfaceConfigError, MessageTemplate, ReceiveRule, SendRule};
use crate::port::DeviceMessage;
use hearthgate_domain::mapping::internal_msg::{InternalMsg, MessageArguments};
use serde_json::Value;

/// All rules of one interface.
#[derive(Debug)]
pub(crate) struct StreamRules {
    receive: Vec<FrameRule>,
    send: Vec<CommandRule>,
}

#[derive(Debug)]
struct FrameRule {
    pattern: FramePattern,
    messages: Vec<Message>,
}

#[derive(Debug)]
struct CommandRule {
    /// Patterns of the action and whichever other fields the rule names.
    conditions: Vec<(Field, FramePattern)>,
    write: FrameTemplate,
    messages: Vec<Message>,
}

type Field = fn(&InternalMsg) -> &str;

/// What a command becomes.
#[derive(Debug, PartialEq)]
pub(crate) struct WrittenCommand {
    /// For the device.
    pub(crate) bytes: Vec<u8>,
    /// To emit once the bytes are written.
    pub(crate) emissions: Vec<DeviceMessage>,
}

impl StreamRules {
    pub(crate) fn compile(
        receive: &[ReceiveRule],
        send: &[SendRule],
        encoding: FrameEncoding,
    ) -> Result<Self, InterfaceConfigError> {
        let receive = receive
            .iter()
            .enumerate()
            .map(|(index, rule)| FrameRule::compile(rule, encoding, &format!("receive[{index}]")));
        let send = send
            .iter()
            .enumerate()
            .map(|(index, rule)| CommandRule::compile(rule, encoding, &format!("send[{index}]")));
        Ok(StreamRules { receive: receive.collect::<Result<_, _>>()?, send: send.collect::<Result<_, _>>()? })
    }

    /// The messages of a frame; `None` if no rule knows it.
    pub(crate) fn received(&self, frame: &[u8]) -> Option<Vec<DeviceMessage>> {
        self.receive.iter().find_map(|rule| {
            let mut captures = CapturedFields::new();
            rule.pattern
                .capture(frame, &mut captures)
                .then(|| rule.messages.iter().map(|message| message.fill(&captures)).collect())
        })
    }

    /// What a command writes.
    pub(crate) fn written(&self, command: &InternalMsg) -> Result<WrittenCommand, CommandRefusal> {
        for rule in &self.send {
            let mut captures = CapturedFields::new();
            if !rule.conditions.iter().all(|(field, pattern)| pattern.capture(field(command).as_bytes(), &mut captures))
            {
                continue;
            }
            let argument = |name: &str| command.arguments.get(name).map(argument_text);
            let bytes = rule.write.fill(|name| captured(&captures, name).or_else(|| argument(name)))?;
            return Ok(WrittenCommand {
                bytes,
                emissions: rule.messages.iter().map(|message| message.fill(&captures)).collect(),
            });
        }
        Err(CommandRefusal::NoRule { action: command.action.clone() })
    }
}

impl FrameRule {
    fn compile(rule: &ReceiveRule, encoding: FrameEncoding, path: &str) -> Result<Self, InterfaceConfigError> {
        let pattern = FramePattern::parse(&rule.pattern, encoding)
            .map_err(|problem| InterfaceConfigError::new(format!("{path}.match"), problem))?;
        let names: Vec<&str> = pattern.names().collect();
        let mut messages = Vec::new();
        if let Some(message) = &rule.message {
            messages.push(Message::compile(message, &names, &format!("{path}.message"))?);
        }
        for (index, message) in rule.also.iter().enumerate() {
            messages.push(Message::compile(message, &names, &format!("{path}.also[{index}]"))?);
        }
        Ok(FrameRule { pattern, messages })
    }
}

impl CommandRule {
    fn compile(rule: &SendRule, encoding: FrameEncoding, path: &str) -> Result<Self, InterfaceConfigError> {
        let fields: [(&str, Option<&String>, Field); 5] = [
            ("action", Some(&rule.action), |message| &message.action),
            ("function", rule.function.as_ref(), |message| &message.function),
            ("gateway", rule.gateway.as_ref(), |message| &message.gateway),
            ("location", rule.location.as_ref(), |message| &message.location),
            ("device", rule.device.as_ref(), |message| &message.device),
        ];
        let mut conditions = Vec::new();
        for (key, text, field) in fields {
            if let Some(text) = text {
                let pattern = FramePattern::parse(text, FrameEncoding::Text)
                    .map_err(|problem| InterfaceConfigError::new(format!("{path}.{key}"), problem))?;
                conditions.push((field, pattern));
            }
        }
        let write = FrameTemplate::parse(&rule.write, encoding)
            .map_err(|problem| InterfaceConfigError::new(format!("{path}.write"), problem))?;
        let names: Vec<&str> = conditions.iter().flat_map(|(_, pattern)| pattern.names()).collect();
        let messages = rule.also.iter().enumerate();
        let messages =
            messages.map(|(index, message)| Message::compile(message, &names, &format!("{path}.also[{index}]")));
        let messages = messages.collect::<Result<_, _>>()?;
        Ok(CommandRule { conditions, write, messages })
    }
}

/// A message to be filled in with captured values.
#[derive(Debug)]
struct Message {
    template: MessageTemplate,
    function: FrameTemplate,
    gateway: FrameTemplate,
    location: FrameTemplate,
    device: FrameTemplate,
    sender: FrameTemplate,
    action: FrameTemplate,
    topic: Option<FrameTemplate>,
    arguments: Vec<(String, Argument)>,
}

#[derive(Debug)]
enum Argument {
    Text(FrameTemplate),
    Other(Value),
}

impl Message {
    fn compile(template: &MessageTemplate, names: &[&str], path: &str) -> Result<Self, InterfaceConfigError> {
        let text = |key: &str, text: &str| {
            let fail = |problem: PatternError| InterfaceConfigError::new(format!("{path}.{key}"), problem);
            let parsed = FrameTemplate::parse(text, FrameEncoding::Text).map_err(fail)?;
            let uncaptured = parsed.names().find(|name| !names.contains(name)).map(str::to_owned);
            match uncaptured {
                Some(name) => Err(fail(PatternError::Uncaptured { name })),
                None => Ok(parsed),
            }
        };
        let mut arguments = Vec::new();
        for (key, value) in &template.arguments {
            let argument = match value {
                Value::String(value) => Argument::Text(text(&format!("arguments.{key}"), value)?),
                Value::Array(_) | Value::Object(_) => {
                    return Err(InterfaceConfigError::new(
                        format!("{path}.arguments.{key}"),
                        "must be a text, a number or a bool",
                    ));
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => Argument::Other(value.clone()),
            };
            arguments.push((key.clone(), argument));
        }
        Ok(Message {
            function: text("function", &template.function)?,
            gateway: text("gateway", &template.gateway)?,
            location: text("location", &template.location)?,
            device: text("device", &template.device)?,
            sender: text("sender", &template.sender)?,
            action: text("action", &template.action)?,
            topic: template.topic.as_ref().map(|topic| text("topic", topic)).transpose()?,
            arguments,
            template: template.clone(),
        })
    }

    fn fill(&self, captures: &CapturedFields) -> DeviceMessage {
        let text = |template: &FrameTemplate| template.fill_text(|name| captured(captures, name).unwrap_or_default());
        let arguments = self.arguments.iter().map(|(key, argument)| {
            let value = match argument {
                Argument::Text(template) => Value::String(text(template)),
                Argument::Other(value) => value.clone(),
            };
            (key.clone(), value)
        });
        DeviceMessage {
            message: InternalMsg {
                iscmd: self.template.iscmd,
                function: text(&self.function),
                gateway: text(&self.gateway),
                location: text(&self.location),
                device: text(&self.device),
                sender: text(&self.sender),
                action: text(&self.action),
                arguments: arguments.collect::<MessageArguments>(),
            },
            retain: self.template.retain,
            qos: self.template.qos,
            topic: self.topic.as_ref().map(text),
        }
    }
}

fn captured(captures: &CapturedFields, name: &str) -> Option<String> {
    captures.iter().find(|(captured, _)| captured == name).map(|(_, value)| value.clone())
}

fn argument_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DriverConfig, InterfaceConfig};

    fn rules(text: &str) -> Result<StreamRules, String> {
        let head = "kind = \"tcp\"\nmap = \"m\"\naddress = \"a:1\"\nframe = { delimiter = \"\\n\" }\n";
        let config: InterfaceConfig =
            toml::from_str(&format!("{head}{text}")).map_err(|error| error.message().to_owned())?;
        let DriverConfig::Tcp(_, stream) = config.driver else { unreachable!("a tcp interface") };
        StreamRules::compile(&stream.receive, &stream.send, stream.frame.encoding).map_err(|error| error.to_string())
    }

    #[test]
    fn captured_values_go_into_every_text_of_the_messages() {
        let rules = rules(
            "[[receive]]\nmatch = \"T{zone:digits}={value:number}\"\n\
             message = { function = \"heating\", location = \"zone{zone}\", action = \"REPORT\", arguments = { value = \"{value}\", ok = true }, retain = true }\n\
             also = [{ iscmd = true, action = \"LOG\", topic = \"log/{zone}\" }]\n\
             [[receive]]\nmatch = \"OK\"\n",
        )
        .unwrap();
        let emissions = rules.received(b"T3=21.50").unwrap();
        assert_eq!(emissions[0].message.location, "zone3");
        assert_eq!(emissions[0].message.arguments["value"], "21.50");
        assert_eq!(emissions[0].message.arguments["ok"], true);
        assert_eq!(emissions[0].retain, Some(true));
        assert!(emissions[1].message.iscmd);
        assert_eq!(emissions[1].topic.as_deref(), Some("log/3"));
        assert_eq!(rules.received(b"OK").unwrap(), []);
        assert_eq!(rules.received(b"KO"), None);
    }

    #[test]
    fn a_command_takes_the_first_rule_that_matches_and_writes_its_arguments() {
        let rules = rules(
            "[[send]]\naction = \"SET\"\nlocation = \"zone{zone:digits}\"\nwrite = \"S{zone} {value:number}\\n\"\n\
             [[send]]\naction = \"{verb}\"\ndevice = \"Siren\"\nwrite = \"!{verb}\\n\"\nalso = [{ action = \"{verb}_SENT\" }]\n",
        )
        .unwrap();
        let command = |location: &str, device: &str, action: &str, value: Value| InternalMsg {
            iscmd: true,
            location: location.into(),
            device: device.into(),
            action: action.into(),
            arguments: [("value".to_owned(), value)].into_iter().collect(),
            ..InternalMsg::default()
        };
        assert_eq!(rules.written(&command("zone3", "", "SET", "20.5".into())).unwrap().bytes, b"S3 20.5\n");
        assert_eq!(rules.written(&command("zone3", "", "SET", 20.into())).unwrap().bytes, b"S3 20\n");
        let siren = rules.written(&command("", "Siren", "WAIL", Value::Null)).unwrap();
        assert_eq!(siren.bytes, b"!WAIL\n");
        assert_eq!(siren.emissions[0].message.action, "WAIL_SENT");
        let refused = rules.written(&command("zone3", "", "SET", "warm".into())).unwrap_err().to_string();
        assert!(refused.contains("`value` must be a number"), "{refused}");
        let refused = rules.written(&command("cellar", "", "SET", "1".into())).unwrap_err().to_string();
        assert!(refused.contains("no rule of this interface knows the action \"SET\""), "{refused}");
    }

    #[test]
    fn a_rule_that_uses_what_nothing_captures_is_refused_by_its_place() {
        let error = rules("[[receive]]\nmatch = \"1\"\nalso = [{ action = \"{x}\" }]\n").unwrap_err();
        assert!(error.contains("`receive[0].also[0].action`: nothing captures {x}"), "{error}");
        let error = rules("[[send]]\naction = \"A\"\nwrite = \"{a:blob}\"\n").unwrap_err();
        assert!(error.contains("`send[0].write`: `blob` is no kind of value here"), "{error}");
        let error = rules("[[receive]]\nmatch = \"1\"\nmessage = { arguments = { a = [1] } }\n").unwrap_err();
        assert!(error.contains("`receive[0].message.arguments.a`: must be a text"), "{error}");
    }
}
