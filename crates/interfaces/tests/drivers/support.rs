//! A driver that runs, and what it reports.

use hearthgate_domain::mapping::internal_msg::InternalMsg;
use hearthgate_interfaces::{
    CommandQueue, CommandSender, DeviceCommand, DriverCount, DriverError, DriverEvent, DriverHost, DriverPort,
    FrameRing, InterfaceConfig, StopSender,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Far more than anything takes; only a test that fails waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Running {
    pub(crate) commands: CommandSender,
    pub(crate) folder: TempDir,
    queue: CommandQueue,
    config: Arc<InterfaceConfig>,
    events: mpsc::Receiver<DriverEvent>,
    stop: Option<StopSender>,
    /// Dropping it drops the driver's future.
    task: JoinSet<Result<(), DriverError>>,
}

pub(crate) fn host(folder: &Path) -> DriverHost {
    DriverHost {
        guard: vec![env!("CARGO_BIN_EXE_hearthgate-exec-guard").into()],
        runtime_dir: folder.join("run"),
        base_dir: folder.to_owned(),
    }
}

/// The options of an interface named `entry`, beside `root`.
pub(crate) fn config(options: &str) -> InterfaceConfig {
    toml::from_str(&format!("root = \"home\"\n{options}")).expect("the options of the test")
}

pub(crate) fn start(options: &str) -> Running {
    start_in(TempDir::new().unwrap(), config(options))
}

pub(crate) fn start_in(folder: TempDir, config: InterfaceConfig) -> Running {
    let (commands, queue) = CommandQueue::new(16);
    let (_, events) = mpsc::channel(1);
    let config = Arc::new(config);
    let mut running = Running { commands, folder, queue, config, events, stop: None, task: JoinSet::new() };
    running.restart();
    running
}

/// Puts a command into the queue as soon as there is room.
pub(crate) async fn put(commands: &CommandSender, mut command: DeviceCommand) {
    let since = Instant::now();
    while let Err(refused) = commands.try_send(command) {
        command = refused;
        assert!(since.elapsed() < PATIENCE, "no room in the queue");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Running {
    /// Runs the driver again on the same queue.
    pub(crate) fn restart(&mut self) {
        let (sender, events) = mpsc::channel(64);
        let (stop, signal) = StopSender::new();
        let port =
            DriverPort { commands: self.queue.clone(), events: sender, stop: signal, frames: FrameRing::default() };
        let host = Arc::new(host(self.folder.path()));
        self.task.spawn(hearthgate_interfaces::run("entry".into(), Arc::clone(&self.config), host, port));
        self.events = events;
        self.stop = Some(stop);
    }

    pub(crate) async fn command(&self, action: &str) {
        self.command_with(action, &[]).await;
    }

    pub(crate) async fn command_with(&self, action: &str, arguments: &[(&str, &str)]) {
        let arguments = arguments.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let message = InternalMsg {
            iscmd: true,
            action: action.into(),
            sender: "phone".into(),
            arguments,
            ..InternalMsg::default()
        };
        let command = DeviceCommand { message, received_at: Instant::now() };
        put(&self.commands, command).await;
    }

    /// The next event that `wanted` wants; the others are skipped.
    pub(crate) async fn find<T>(&mut self, what: &str, wanted: impl Fn(&DriverEvent) -> Option<T>) -> T {
        let mut skipped = Vec::new();
        let search = async {
            while let Some(event) = self.events.recv().await {
                if let Some(found) = wanted(&event) {
                    return Some(found);
                }
                if skipped.len() < 50 {
                    skipped.push(event);
                }
            }
            None
        };
        let found = timeout(PATIENCE, search).await;
        match found {
            Ok(Some(found)) => found,
            Ok(None) => panic!("the driver ended before {what} came; {skipped:?}"),
            Err(_) => panic!("{what} did not come; {skipped:?}"),
        }
    }

    /// Waits until each of these words stood in an event, in whatever order they come.
    pub(crate) async fn all_of(&mut self, words: &[&str]) -> String {
        let mut seen = String::new();
        let search = async {
            while !words.iter().all(|word| seen.contains(word)) {
                match self.events.recv().await {
                    Some(event) => seen.push_str(&format!("{event:?}\n")),
                    None => break,
                }
            }
        };
        let _ = timeout(PATIENCE, search).await;
        assert!(words.iter().all(|word| seen.contains(word)), "{words:?} did not come: {seen}");
        seen
    }

    pub(crate) async fn online(&mut self) {
        self.find("online", |event| matches!(event, DriverEvent::Online).then_some(())).await;
    }

    pub(crate) async fn offline(&mut self) -> String {
        let wanted = |event: &DriverEvent| match event {
            DriverEvent::Offline { reason } => Some(reason.clone()),
            _ => None,
        };
        self.find("offline", wanted).await
    }

    pub(crate) async fn emitted(&mut self) -> InternalMsg {
        let wanted = |event: &DriverEvent| match event {
            DriverEvent::Emit(emission) => Some(emission.message.clone()),
            _ => None,
        };
        self.find("a message", wanted).await
    }

    /// The next message, which must be the refusal of this action; its reason.
    pub(crate) async fn refused(&mut self, action: &str) -> String {
        let answer = self.emitted().await;
        assert_eq!((answer.action.as_str(), answer.iscmd, answer.sender.as_str()), (action, false, ""));
        assert_eq!(answer.arguments["response"], "ERROR");
        answer.arguments["reason"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn counted(&mut self, wanted: DriverCount) {
        let wanted = |event: &DriverEvent| match event {
            DriverEvent::Counted { what, .. } if *what == wanted => Some(()),
            _ => None,
        };
        self.find("a count", wanted).await;
    }

    pub(crate) async fn logged(&mut self, words: &str) {
        let wanted = |event: &DriverEvent| match event {
            DriverEvent::Log { text, .. } if text.contains(words) => Some(()),
            _ => None,
        };
        self.find(words, wanted).await;
    }

    /// Everything until the driver ends, and how it ended.
    pub(crate) async fn rest(&mut self) -> (Vec<DriverEvent>, Result<(), DriverError>) {
        let mut events = Vec::new();
        let drain = async {
            while let Some(event) = self.events.recv().await {
                events.push(event);
            }
        };
        timeout(PATIENCE, drain).await.expect("the driver ends");
        let ended = timeout(PATIENCE, self.task.join_next()).await.expect("the driver ends");
        (events, ended.expect("it was started").expect("it does not panic"))
    }

    pub(crate) async fn ended(&mut self) -> Result<(), DriverError> {
        self.rest().await.1
    }

    pub(crate) fn ask_to_stop(&self) {
        if let Some(stop) = &self.stop {
            stop.stop();
        }
    }

    pub(crate) async fn stop(&mut self) -> Result<(), DriverError> {
        self.ask_to_stop();
        self.ended().await
    }
}

/// Looks again and again until it is so.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let search = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
