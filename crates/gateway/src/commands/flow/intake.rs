//! Flows on their way into the database.

use super::checks::{admit_flows, table_finding};
use super::sample::sample_findings;
use crate::exit::CommandFailure;
use hearthgate_domain::flow::{Flow, FlowRow};
use hearthgate_settings::GatewaySettings;
use hearthgate_storage::sql::{Database, TypedTable};

/// Where flows go, and those that are there.
pub(super) struct FlowIntake<'a> {
    pub(super) database: &'a Database,
    pub(super) settings: &'a GatewaySettings,
    pub(super) rows: &'a [FlowRow],
}

impl FlowIntake<'_> {
    /// Checks flows together; what is doubtful is told, and lets them in.
    ///
    /// # Errors
    /// One of them could not run.
    pub(super) async fn check(&self, wanted: &[FlowRow]) -> Result<Vec<Flow>, CommandFailure> {
        let mut admission = admit_flows(self.rows, wanted, self.settings).map_err(CommandFailure::from)?;
        for flow in &admission.flows {
            admission.doubts.extend(sample_findings(flow, self.settings).await);
        }
        for doubt in &admission.doubts {
            eprintln!("flow {}: {}", doubt.code.as_deref().unwrap_or_default(), doubt.text);
        }
        Ok(admission.flows)
    }

    /// As [`Self::check`], without a word of what is doubtful.
    ///
    /// # Errors
    /// One of them could not run.
    pub(super) fn check_quietly(&self, wanted: &[FlowRow]) -> Result<(), CommandFailure> {
        admit_flows(self.rows, wanted, self.settings).map(drop).map_err(CommandFailure::from)
    }

    /// Checks and writes flows, all or none, and makes their tables. A flow with an id is changed, one without is added.
    ///
    /// # Errors
    /// One of them could not run, or the database refuses one; nothing was changed.
    pub(super) async fn take(&self, wanted: Vec<FlowRow>) -> Result<(), CommandFailure> {
        let flows = self.check(&wanted).await?;
        let (added, changed): (Vec<FlowRow>, Vec<FlowRow>) = wanted.into_iter().partition(|row| row.id == 0);
        let written = self.database.import_flows(&added, &changed).await;
        written.map_err(|error| CommandFailure::Unavailable(error.to_string()))?;
        for flow in &flows {
            self.make_table(flow).await;
        }
        Ok(())
    }

    /// The flow's own table, now rather than with the first reading, so that whoever has no right to it hears of that here.
    async fn make_table(&self, flow: &Flow) {
        if let Some(finding) = table_finding(self.database, flow).await {
            eprintln!("flow {}: {}", flow.code, finding.text);
        }
        // A table that can't be was refused before.
        if let Ok(Some(table)) = TypedTable::of(flow)
            && self.database.makes_tables()
            && let Err(error) = self.database.make_table(&table).await
        {
            eprintln!("the table {} is not there yet, and its readings will wait for it: {error}", table.name());
        }
    }
}
