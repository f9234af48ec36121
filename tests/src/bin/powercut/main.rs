//! Loss of power: the real binary in a virtual machine that is killed under load. Run it by `cargo xtask powercut`.

#![expect(clippy::print_stdout, reason = "the table is this program's answer")]

mod guest;

use anyhow::{Context, ensure};
use clap::Parser;
use guest::{Guest, GuestImage};
use hearthgate_tests::database::Database;
use hearthgate_tests::free_port;
use hearthgate_tests::publisher::{Account, Options, Publisher};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest time that nothing may be acknowledged: machines are emulated, and boot.
const PATIENCE: Duration = Duration::from_secs(180);
/// Messages that the publisher has in flight at most.
const WINDOW: usize = 100;

/// Kills a machine again and again while messages are published to the gateway in it, and looks for each of them.
///
/// A publisher with a persistent session publishes to the embedded broker without pause, and sends again what was not
/// acknowledged. The machine's memory, with all that its system had not written to the disk, is gone with each kill. In the
/// end every message must be in SQLite once. The exit status is 1 if one was lost or duplicated; with `--control` if none
/// was lost.
#[derive(Parser)]
#[command(name = "powercut")]
struct Arguments {
    /// How often the power goes
    #[arg(long, default_value_t = 50)]
    cuts: usize,
    /// Messages a second
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Of everything that is random; printed, so that a run can be repeated [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// The gateway's syncs do nothing: then messages must be lost, or the trial shows nothing
    #[arg(long)]
    control: bool,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let arguments = Arguments::parse();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(&arguments))) {
        Ok(verdict) => {
            println!("{verdict}");
            let is_as_wanted = if arguments.control { verdict.lost > 0 } else { verdict.lost + verdict.twice == 0 };
            if is_as_wanted { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("powercut: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let image = GuestImage::make(arguments.control)?;
    let port = free_port();
    let publisher = Publisher::start(Options { window: WINDOW, ..Options::new(port, "meter") });
    let begun = Instant::now();
    let mut published = 0;
    for cut in 1..=arguments.cuts {
        let guest = boot(&image, port, &publisher).await?;
        let lives = Duration::from_millis(random.u64(200..4_000));
        let end = Instant::now() + lives;
        while Instant::now() < end {
            publish(&publisher, &mut published, arguments.rate, 100).await;
        }
        // With messages on their way.
        publish(&publisher, &mut published, 10 * WINDOW as u64, random.u64(0..60)).await;
        guest.kill();
        let Account { acknowledged, sent_again, .. } = publisher.account();
        eprintln!(
            "cut {cut} of {} after {lives:?}: {acknowledged} acknowledged, {sent_again} sent again",
            arguments.cuts
        );
    }
    let guest = boot(&image, port, &publisher).await?;
    let account = publisher.all_acknowledged(PATIENCE).await?;
    drop(publisher);
    guest.shut_down().await?;
    let file = image.take_file("data/hearthgate.db")?;
    let counts = count(&file, published).await?;
    Ok(Verdict { cuts: arguments.cuts, seconds: begun.elapsed().as_secs(), account, ..counts })
}

/// A tenth of a second's messages, and a pause of so many milliseconds.
async fn publish(publisher: &Publisher, published: &mut u64, rate: u64, pause: u64) {
    for _ in 0..rate.div_ceil(10) {
        publisher.publish("sensors/aht10", format!(r#"{{"temperature":{published},"humidity":1}}"#)).await;
        *published += 1;
    }
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

/// Boots the machine, and waits until the publisher is connected.
async fn boot(image: &GuestImage, port: u16, publisher: &Publisher) -> anyhow::Result<Guest> {
    let before = publisher.account().connections;
    let guest = Guest::boot(image, port)?;
    let since = Instant::now();
    while publisher.account().connections == before {
        ensure!(since.elapsed() < PATIENCE, "the gateway in the machine does not answer:\n{}", image.console());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(guest)
}

/// What became of the messages.
#[derive(Default)]
struct Verdict {
    cuts: usize,
    seconds: u64,
    account: Account,
    lost: u64,
    twice: u64,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Account { acknowledged, sent_again, .. } = self.account;
        writeln!(f, "| power cuts | acknowledged | sent again | lost | duplicated | seconds |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        write!(
            f,
            "| {} | {acknowledged} | {sent_again} | {} | {} | {} |",
            self.cuts, self.lost, self.twice, self.seconds
        )
    }
}

async fn count(file: &Path, published: u64) -> anyhow::Result<Verdict> {
    let database = Database::try_open(file).await.context("opening the machine's database")?;
    let of = "FROM data WHERE flow_code = 'AHT10_SENSOR' AND attribute_name = 'temperature'";
    let rows = database.number(&format!("SELECT COUNT(*) {of}")).await.unsigned_abs();
    let distinct = database.number(&format!("SELECT COUNT(DISTINCT attribute_value) {of}")).await.unsigned_abs();
    ensure!(distinct <= published, "{distinct} different rows of {published} messages");
    Ok(Verdict { lost: published - distinct, twice: rows - distinct, ..Verdict::default() })
}
