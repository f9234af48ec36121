//! Every operation of the API, once: the router is made of it, the document describes it, and the gate asks it who may.

use crate::api::{
    ActorList, ActorView, FlowsReloaded, LetterReplayed, LivenessAnswer, OrderDone, ReadinessAnswer, VersionAnswer,
};
use crate::document::document;
use crate::lines::TableLines;
use crate::operation::schema;
use crate::operation::{AnswerKind, ApiOperation, QueryKind};
use crate::problem::RequestRefusal;
use crate::scope::AccessScope;
use crate::state::ServerDeps;
use crate::wire::*;
use crate::{orders, page, routes, views};
use actix_web::HttpResponse;
use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::web::{self, ServiceConfig};
use schemars::JsonSchema;

fn json<T: JsonSchema>() -> AnswerKind {
    AnswerKind::Json(schema::<T>)
}

/// `GET /api/v1/openapi.json`
async fn show(parts: Data<ServerDeps>) -> HttpResponse {
    HttpResponse::Ok().json(document(parts.version, &operations()))
}

/// All operations.
pub(crate) fn operations() -> Vec<ApiOperation> {
    let mut lines = TableLines::default();
    parts(&mut lines);
    logins(&mut lines);
    flows(&mut lines);
    deliveries(&mut lines);
    letters(&mut lines);
    traffic(&mut lines);
    system(&mut lines);
    lines.done()
}

fn parts(lines: &mut TableLines) {
    let (open, read, operate) = (AccessScope::Open, AccessScope::Read, AccessScope::Operate);
    lines
        .get("/livez", open, json::<LivenessAnswer>(), "Whether ending the process is all that helps (503)")
        .by(|| web::get().to(routes::live));
    lines
        .get("/readyz", open, json::<ReadinessAnswer>(), "Whether messages get from end to end, or why not (503)")
        .by(|| web::get().to(routes::ready));
    lines
        .get("/metrics", open, AnswerKind::Text("text/plain"), "What was counted, for Prometheus")
        .by(|| web::get().to(routes::metrics));
    lines
        .get("/api/v1/version", open, json::<VersionAnswer>(), "The gateway's version")
        .by(|| web::get().to(routes::version));
    lines
        .get("/api/v1/openapi.json", open, AnswerKind::Text("application/json"), "This document")
        .by(|| web::get().to(show));
    lines.get("/api/v1/actors", open, json::<ActorList>(), "All actors").by(|| web::get().to(routes::actors));
    lines.get("/api/v1/actors/{name}", open, json::<ActorView>(), "One actor").by(|| web::get().to(routes::actor));
    lines
        .post(
            "/api/v1/actors/{name}/{command}",
            operate,
            json::<OrderDone>(),
            "Orders an actor to start, stop or restart, and waits until it did",
        )
        .by(|| web::post().to(routes::order));
    lines
        .get("/api/v1/overview", read, json::<WiringGraph>(), "The wiring as it runs")
        .by(|| web::get().to(views::parts::overview));
    lines
        .get("/api/v1/interfaces", read, json::<InterfaceList>(), "The device interfaces")
        .by(|| web::get().to(views::parts::interfaces));
    lines
        .post(
            "/api/v1/interfaces/{name}/commands",
            operate,
            json::<CommandTaken>(),
            "Hands a command over to an interface, and tells what its map made of it",
        )
        .body::<CommandWanted>()
        .by(|| web::post().to(views::interfaces::command));
    lines
        .get("/api/v1/interfaces/{name}/frames", read, json::<FrameList>(), "The last frames of an interface's line")
        .by(|| web::get().to(views::interfaces::frames));
    lines
        .get("/api/v1/broker", read, json::<BrokerSummary>(), "The embedded broker and its clients")
        .by(|| web::get().to(views::parts::broker));
    lines
        .get("/api/v1/broker/rights", read, json::<BrokerRights>(), "What a client of the broker may do with a topic")
        .query(&[
            ("user", QueryKind::Text, "As whom it comes; without a name unless said"),
            ("client", QueryKind::Text, "Its client id; empty unless said"),
            ("topic", QueryKind::Needed, "A topic without wildcards"),
        ])
        .by(|| web::get().to(views::parts::rights));
    lines
        .post("/api/v1/broker/clients/{id}/disconnect", operate, AnswerKind::Nothing, "Ends a client's connection")
        .by(|| web::post().to(views::parts::disconnect));
}

fn logins(lines: &mut TableLines) {
    lines
        .get("/api/v1/session", AccessScope::Open, json::<LoginStatus>(), "What you may do")
        .by(|| web::get().to(views::login::show));
    lines
        .post("/api/v1/session", AccessScope::Open, json::<LoginStatus>(), "Logs in: the answer sets a cookie")
        .body::<LoginWanted>()
        .by(|| web::post().to(views::login::log_in));
    lines
        .add((Method::DELETE, "/api/v1/session"), AccessScope::Open, "Logs out")
        .by(|| web::delete().to(views::login::log_out));
    lines
        .get("/api/v1/sessions", AccessScope::Admin, json::<SessionList>(), "All logins to the page")
        .by(|| web::get().to(views::login::list));
    lines
        .add((Method::DELETE, "/api/v1/sessions/{id}"), AccessScope::Admin, "Ends a login")
        .by(|| web::delete().to(views::login::revoke));
}

fn flows(lines: &mut TableLines) {
    lines
        .get("/api/v1/flows", AccessScope::Read, json::<FlowList>(), "All flows")
        .by(|| web::get().to(views::flows::list));
    lines
        .post("/api/v1/flows", AccessScope::Admin, json::<FlowView>(), "Adds a flow; it is in force with the answer")
        .body::<FlowInput>()
        .by(|| web::post().to(views::flows::add));
    lines
        .post(
            "/api/v1/flows/test",
            AccessScope::Operate,
            json::<serde_json::Value>(),
            "What a flow would make of a message",
        )
        .body::<FlowTest>()
        .by(|| web::post().to(views::flows::test));
    lines
        .post(
            "/api/v1/flows/learn",
            AccessScope::Operate,
            json::<LearnAnswer>(),
            "Watches what passes for some seconds, and proposes flows for it",
        )
        .body::<LearnWanted>()
        .by(|| web::post().to(views::flows::learn));
    lines
        .post("/api/v1/flows/reload", AccessScope::Operate, json::<FlowsReloaded>(), "Reads flows and maps again")
        .by(|| web::post().to(orders::reload));
    lines
        .get("/api/v1/flows/{code}", AccessScope::Read, json::<FlowView>(), "One flow, with its version as ETag")
        .by(|| web::get().to(views::flows::show));
    let change = lines.add((Method::PUT, "/api/v1/flows/{code}"), AccessScope::Admin, "Replaces a flow");
    change.answer = json::<FlowView>();
    change.body::<FlowInput>().versioned().by(|| web::put().to(views::flows::change));
    lines
        .add((Method::DELETE, "/api/v1/flows/{code}"), AccessScope::Admin, "Removes a flow; what it stored stays")
        .versioned()
        .by(|| web::delete().to(views::flows::remove));
}

fn deliveries(lines: &mut TableLines) {
    lines
        .get("/api/v1/deliveries", AccessScope::Read, json::<DeliveryList>(), "The last calls of endpoints, by flow")
        .by(|| web::get().to(views::deliveries::list));
    lines
        .post(
            "/api/v1/deliveries/{flow}/test",
            AccessScope::Operate,
            json::<AttemptView>(),
            "Calls a flow's endpoint once, with a message of yours",
        )
        .body::<DeliveryTrial>()
        .by(|| web::post().to(views::deliveries::test));
}

fn letters(lines: &mut TableLines) {
    lines
        .get("/api/v1/dead-letters/groups", AccessScope::Read, json::<LetterGroups>(), "Dead letters that failed alike")
        .by(|| web::get().to(views::letters::groups));
    lines
        .get("/api/v1/dead-letters", AccessScope::Read, json::<LetterPage>(), "Dead letters, the newest first")
        .query(&[
            ("group", QueryKind::Text, "Of this group only"),
            ("flow", QueryKind::Text, "Of this flow only"),
            ("before", QueryKind::Number, "Older than this letter: `next` of the page before"),
            ("limit", QueryKind::Number, "At most so many, 1 to 200; 50 unless said"),
        ])
        .by(|| web::get().to(views::letters::list));
    lines
        .post(
            "/api/v1/dead-letters/replay",
            AccessScope::Operate,
            json::<LettersReplayed>(),
            "Takes letters through their flows again, or tells what would become of each",
        )
        .query(&[("dry_run", QueryKind::Flag, "`true`: nothing is done")])
        .body::<LetterChoice>()
        .by(|| web::post().to(views::letters::replay));
    lines
        .post("/api/v1/dead-letters/drop", AccessScope::Admin, json::<LettersDropped>(), "Removes letters")
        .body::<LetterChoice>()
        .by(|| web::post().to(views::letters::drop_letters));
    lines
        .post(
            "/api/v1/dead-letters/undo",
            AccessScope::Admin,
            json::<LettersRestored>(),
            "Brings back all letters that were removed within ten minutes",
        )
        .by(|| web::post().to(views::letters::undo));
    lines
        .get("/api/v1/dead-letters/{id}", AccessScope::Read, json::<LetterView>(), "A letter with its payload")
        .by(|| web::get().to(views::letters::show));
    lines
        .post("/api/v1/dead-letters/{id}/replay", AccessScope::Operate, json::<LetterReplayed>(), "Replays one letter")
        .query(&[("again", QueryKind::Flag, "`true`: also if it was replayed before")])
        .by(|| web::post().to(orders::replay));
}

fn traffic(lines: &mut TableLines) {
    lines
        .get("/api/v1/events", AccessScope::Read, AnswerKind::Text("text/event-stream"), "The one stream of events")
        .query(&[
            ("watch", QueryKind::Text, "`overview`, `messages`, or both with a comma"),
            ("topic", QueryKind::Text, "Messages whose topic this filter matches"),
            ("flow", QueryKind::Text, "Messages that this flow got"),
            ("outcome", QueryKind::Text, "Messages with one of these outcomes, with commas; `bad` for all that failed"),
            ("text", QueryKind::Text, "Messages with this text in topic, payload or reason"),
        ])
        .by(|| web::get().to(views::live::events));
    lines
        .get("/api/v1/fates", AccessScope::Read, json::<FateList>(), "What became of messages, the newest first")
        .query(&[
            ("topic", QueryKind::Text, "Messages whose topic this filter matches"),
            ("flow", QueryKind::Text, "Of this flow only"),
            ("outcome", QueryKind::Text, "Of these outcomes only, with commas; `bad` for all that failed"),
            ("limit", QueryKind::Number, "At most so many, 1 to 500; 100 unless said"),
        ])
        .by(|| web::get().to(views::fates::list));
    lines
        .get("/api/v1/topics", AccessScope::Read, json::<TopicLevel>(), "One level of the topics that came by")
        .query(&[("under", QueryKind::Text, "The prefix, without its last `/`; the top level unless said")])
        .by(|| web::get().to(views::live::topics));
    lines
        .get("/api/v1/topics/retained", AccessScope::Read, json::<RetainedList>(), "What the embedded broker retains")
        .query(&[("under", QueryKind::Text, "The prefix, without its last `/`; all unless said")])
        .by(|| web::get().to(views::parts::retained));
    lines
        .add((Method::DELETE, "/api/v1/topics/retained"), AccessScope::Operate, "Removes a retained message")
        .query(&[("topic", QueryKind::Needed, "Its topic")])
        .by(|| web::delete().to(views::parts::clear_retained));
    lines
        .get(
            "/api/v1/data/{flow}",
            AccessScope::Read,
            json::<AttributeList>(),
            "What a flow stores, with the newest values",
        )
        .by(|| web::get().to(views::records::attributes));
    lines
        .get(
            "/api/v1/data/{flow}/{attribute}",
            AccessScope::Read,
            json::<RecordSeries>(),
            "Stored values by windows of time",
        )
        .query(&[
            ("from", QueryKind::Time, "RFC 3339; a day ago unless said"),
            ("to", QueryKind::Time, "RFC 3339; now unless said"),
            ("points", QueryKind::Number, "At most so many windows, 1 to 500; 300 unless said"),
        ])
        .by(|| web::get().to(views::records::series));
}

fn system(lines: &mut TableLines) {
    lines
        .get(
            "/api/v1/configuration",
            AccessScope::Read,
            json::<ConfigurationView>(),
            "What is in force, without secrets",
        )
        .by(|| web::get().to(views::system::configuration));
    lines
        .get("/api/v1/log", AccessScope::Read, json::<LogLevelView>(), "The log's level")
        .by(|| web::get().to(views::system::log));
    let level =
        lines.add((Method::PUT, "/api/v1/log"), AccessScope::Operate, "Another level of the log, for some minutes");
    level.answer = json::<LogLevelView>();
    level.body::<LogWanted>().by(|| web::put().to(views::system::set_log));
    lines
        .get(
            "/api/v1/support",
            AccessScope::Read,
            json::<serde_json::Value>(),
            "All that helps to find a fault, no secrets",
        )
        .by(|| web::get().to(views::system::support));
}

/// Who may, for the gate: the same patterns as the router has, in the same order.
pub(crate) struct OperationRights(Vec<(ResourceDef, Method, AccessScope)>);

impl OperationRights {
    pub(crate) fn new() -> Self {
        let rights = operations().into_iter();
        OperationRights(rights.map(|one| (ResourceDef::new(one.path), one.method, one.scope)).collect())
    }

    /// What an operation needs; absent when there is none at this path with this method.
    pub(crate) fn needed(&self, method: &Method, path: &str) -> Option<AccessScope> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let first = self.0.iter().find(|(pattern, _, _)| pattern.is_match(path))?.0.pattern()?;
        let here = self.0.iter().filter(|(pattern, _, _)| pattern.pattern() == Some(first));
        here.into_iter().find(|(_, of, _)| of == method).map(|(_, _, scope)| *scope)
    }
}

/// The router.
pub(crate) fn configure(app: &mut ServiceConfig) {
    let operations = operations();
    let mut done: Vec<&str> = Vec::new();
    for operation in &operations {
        if done.contains(&operation.path) {
            continue;
        }
        done.push(operation.path);
        let here: Vec<&ApiOperation> = operations.iter().filter(|other| other.path == operation.path).collect();
        let mut resource = web::resource(operation.path);
        for other in &here {
            resource = resource.route((other.route)());
        }
        if let Some(get) = here.iter().find(|other| other.method == Method::GET) {
            // RFC 9110 section 9.3.2; the server leaves the body out.
            resource = resource.route((get.route)().method(Method::HEAD));
        }
        let allowed = here.iter().map(|other| other.method.as_str()).collect::<Vec<_>>().join(", ");
        app.service(resource.default_service(web::to(move || refuse(RequestRefusal::WrongMethod(allowed.clone())))));
    }
    #[cfg(feature = "fault-injection")]
    app.service(web::resource("/api/v1/actors/{name}/fault/{kind}").route(web::post().to(routes::fault)));
    app.service(web::resource("/").route(web::get().to(page::index)).route(web::head().to(page::index)));
    app.service(web::resource("/page/{file:.*}").route(web::get().to(page::file)).route(web::head().to(page::file)));
    let invalid = |error: String| actix_web::Error::from(RequestRefusal::Invalid(error));
    app.app_data(web::PathConfig::default().error_handler(|_, _| RequestRefusal::NoSuchPath.into()))
        .app_data(web::QueryConfig::default().error_handler(move |error, _| invalid(error.to_string())))
        .app_data(
            web::JsonConfig::default().limit(LARGEST_BODY).error_handler(move |error, _| invalid(error.to_string())),
        )
        .default_service(web::to(|| refuse(RequestRefusal::NoSuchPath)));
}

/// A flow's schema and options, and a payload to test them on.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

async fn refuse(refusal: RequestRefusal) -> Result<HttpResponse, RequestRefusal> {
    Err(refusal)
}
