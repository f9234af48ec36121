//! Each preset takes what devices of its family send, in the shapes that their documentation shows.

mod shapes;

use super::*;
use crate::commands::flow::checks::compile_flow;
use crate::commands::flow::file::read_flows;
use clap::ValueEnum as _;
use hearthgate_domain::flow::Flow;

fn flows(preset: DevicePreset) -> Vec<Flow> {
    read_flows(text(preset)).unwrap().iter().map(|written| compile_flow(&written.row).unwrap()).collect()
}

#[test]
fn each_preset_is_named_in_its_flows_and_tables_and_says_what_it_is() {
    for preset in DevicePreset::value_variants() {
        let name = preset.to_possible_value().unwrap().get_name().replace('-', "_");
        for (number, flow) in flows(*preset).iter().enumerate() {
            let table = flow.store.as_ref().and_then(|store| store.table.as_deref()).unwrap();
            assert!(table == name || number > 0 && table.starts_with(&format!("{name}_")), "{table}");
            assert!(flow.code.to_lowercase().starts_with(&name), "{}", flow.code);
        }
        assert!(text(*preset).starts_with("# "), "{name}");
    }
}
