//! The device interfaces: commands to them, and what goes over their lines.

use crate::run::subjects::common::{unavailable, written};
use crate::wiring::interfaces::EnabledInterface;
use actix::Addr;
use hearthgate_actors::mapping::mapper::MapperActor;
use hearthgate_actors::mapping::refusal::OrderRefusal;
use hearthgate_actors::messages::OrderCommand;
use hearthgate_api::wire::{CommandTaken, CommandWanted, FrameList, FrameView};
use hearthgate_api::{InterfaceAccess, SubjectAnswer, SubjectFailure};
use hearthgate_interfaces::{DeviceFrame, FrameDirection};

pub(super) struct InterfaceSubject {
    pub(super) interfaces: Vec<EnabledInterface>,
    pub(super) mapper: Option<Addr<MapperActor>>,
}

impl InterfaceAccess for InterfaceSubject {
    fn command(&self, name: String, wanted: CommandWanted) -> SubjectAnswer<CommandTaken> {
        let place = self.interfaces.iter().position(|interface| *interface.name == name);
        let mapper = self.mapper.clone();
        Box::pin(async move {
            let (Some(interface), Some(mapper)) = (place, mapper) else { return Err(missing(&name)) };
            let order = OrderCommand { interface, topic: wanted.topic, payload: wanted.payload.into_bytes() };
            match mapper.send(order).await.map_err(unavailable)? {
                Ok(message) => Ok(CommandTaken { message: serde_json::json!(message) }),
                Err(refusal @ OrderRefusal::NotTaken(_)) => Err(SubjectFailure::Conflict(refusal.to_string())),
                Err(refusal) => Err(SubjectFailure::Invalid(refusal.to_string())),
            }
        })
    }

    fn frames(&self, name: String) -> SubjectAnswer<FrameList> {
        let found = self.interfaces.iter().find(|interface| *interface.name == name);
        let list = found.map(|interface| {
            let (frames, left_out) = interface.frames.newest();
            FrameList { frames: frames.into_iter().map(view).collect(), left_out }
        });
        Box::pin(std::future::ready(list.ok_or_else(|| missing(&name))))
    }
}

fn missing(name: &str) -> SubjectFailure {
    SubjectFailure::Missing(format!("there is no interface {name:?}; GET /api/v1/interfaces lists them"))
}

fn view(frame: DeviceFrame) -> FrameView {
    let (text, hex) = written(&frame.bytes);
    FrameView {
        at: frame.at.into(),
        to_device: frame.direction == FrameDirection::ToDevice,
        text,
        hex,
        bytes: frame.length as u64,
        meaning: frame.meaning,
    }
}
