//! `flow new --preset NAME`: a file of flows for a family of devices, to review and import.

use crate::cli::DevicePreset;
use crate::exit::ExitStatus;
use std::io::Write;

/// Writes the preset's file.
///
/// # Errors
/// Writing fails.
pub(super) fn run(preset: DevicePreset, out: &mut dyn Write) -> anyhow::Result<ExitStatus> {
    writeln!(out, "# Review this, then: hearthgate flow import FILE")?;
    out.write_all(text(preset).as_bytes())?;
    Ok(ExitStatus::Ok)
}

fn text(preset: DevicePreset) -> &'static str {
    match preset {
        DevicePreset::Zigbee2mqtt => include_str!("../../../../presets/zigbee2mqtt.toml"),
        DevicePreset::Tasmota => include_str!("../../../../presets/tasmota.toml"),
        DevicePreset::ShellyGen1 => include_str!("../../../../presets/shelly-gen1.toml"),
        DevicePreset::ShellyGen2 => include_str!("../../../../presets/shelly-gen2.toml"),
        DevicePreset::Esphome => include_str!("../../../../presets/esphome.toml"),
        DevicePreset::Rtl433 => include_str!("../../../../presets/rtl_433.toml"),
        DevicePreset::Dsmr => include_str!("../../../../presets/dsmr.toml"),
        DevicePreset::HomeassistantStatestream => {
            include_str!("../../../../presets/homeassistant-statestream.toml")
        }
        DevicePreset::Owntracks => include_str!("../../../../presets/owntracks.toml"),
        DevicePreset::Frigate => include_str!("../../../../presets/frigate.toml"),
    }
}

#[cfg(test)]
mod tests;
