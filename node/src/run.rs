//! `skyharbor run`: a node until somebody stops it.
//!
//! ```text
//!  start:  configuration ─► log ─► signals ─► control socket ─► node ─► services, names ─► "running"
//!  run:    the main thread waits for events: stop, log moved, a control client wants something
//!          (what clients want before the node runs waits in the same queue)
//!  leave:  node (peers are told, waiting calls end) ─► control socket ─► log
//! ```

use crate::callee::{Callee, failure};
use crate::check;
use crate::control::{Answer, Call, Client, Failure, Request, Server};
use crate::events::{Event, watch_signals};
use crate::gateway::{Ask, Gateway};
use crate::limits::{CALL_TIME_MAX, CLIENT_LOOK, CLIENT_PATIENCE, EVENTS_MAX, LEAVE_TIME_MAX};
use crate::logs::Log;
use crate::outcome::Failed;
use crate::{json, names};
use skyharbor::clock::Instant;
use skyharbor::node::{ServiceEntry, ServiceKind};
use skyharbor::prelude::*;
use skyharbor::seri;
use skyharbor::services::{Echo, Kv};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

/// Runs the node that a file describes until Ctrl-C or SIGTERM.
///
/// # Errors
/// The configuration has errors, or something cannot be started.
pub(crate) fn run(path: &Path) -> Result<(), Failed> {
    let config = check::read(path)?;
    let log = Log::start(config.logger.as_deref()).map_err(|error| {
        let logger = config.logger.as_deref().unwrap_or(Path::new("the log"));
        Failed::new(format_args!("cannot open {}: {error}", logger.display()))
    })?;
    log.install(config.logger_level);
    let ran = run_logged(&config, &log);
    match &ran {
        Ok(()) => tracing::info!("ended"),
        Err(failed) => tracing::error!("ended: {failed}"),
    }
    log.end();
    ran
}

fn run_logged(config: &Config, log: &Log) -> Result<(), Failed> {
    let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
    watch_signals(sender.clone())
        .map_err(|error| Failed::new(format_args!("cannot watch signals: {error}")))?;
    tracing::info!("starting: {}", check::summary(config));
    if let Some(start) = &config.start {
        tracing::info!("start = {start:?} is for host programs, this one starts service entries");
    }
    // Before the node: one that joins and then cannot be reached would have burnt its harbor id for nothing.
    let control = start_control(config, sender)?;
    let ran = run_node(config, events, log);
    if let Some(control) = control {
        control.stop();
    }
    ran
}

fn run_node(config: &Config, events: Receiver<Event>, log: &Log) -> Result<(), Failed> {
    let node = Node::start(config.clone()).map_err(Failed::new)?;
    for service in &config.services {
        start_service(&node, service)?;
    }
    let gateway = node.spawn("control", Gateway).map_err(Failed::new)?;
    tracing::info!(harbor = config.harbor.get(), "running");
    serve(&node, &gateway, &events, log);
    drop(events);
    tracing::info!("leaving");
    node.shutdown(LEAVE_TIME_MAX).map_err(Failed::new)
}

/// Works on events until one of them is to stop.
fn serve(node: &Node, gateway: &Addr<Gateway>, events: &Receiver<Event>, log: &Log) {
    for event in events {
        match event {
            Event::Stop => return,
            Event::ReopenLog => log.reopen(),
            Event::Ask(ask) => {
                if let Err(refused) = node.send(gateway, ask) {
                    // The client gets its answer when the ask, and with it the way for the result, is dropped.
                    tracing::warn!("a control request was refused: {}", refused.reason);
                }
            }
        }
    }
}

fn start_service(node: &Node, entry: &ServiceEntry) -> Result<(), Failed> {
    let named = match entry.kind {
        ServiceKind::Echo => spawn_named(node, &entry.name, Echo),
        ServiceKind::Kv => spawn_named(node, &entry.name, Kv::default()),
        _ => {
            return Err(Failed::new(format_args!(
                "service {}: this program does not know its kind",
                entry.name
            )));
        }
    };
    let handle = named.map_err(|error| Failed::new(format_args!("service {}: {error}", entry.name)))?;
    tracing::info!("service {} {} at {handle}", check::kind(entry.kind), entry.name);
    Ok(())
}

fn spawn_named<S: Service>(node: &Node, name: &str, service: S) -> Result<Handle, skyharbor::Error> {
    let addr = node.spawn(name, service)?;
    if name.starts_with('.') {
        node.register_local(name, &addr)?;
    } else {
        node.register_global(name, &addr)?;
        match node.register_unique(name, &addr) {
            Ok(()) | Err(skyharbor::Error::NotStandalone) => {}
            // Another node of the cluster had it launched in this moment: that one stays the unique one.
            Err(error) => tracing::warn!("service {name}: {error}"),
        }
    }
    Ok(addr.handle())
}

fn start_control(config: &Config, events: SyncSender<Event>) -> Result<Option<Server>, Failed> {
    let Some(path) = &config.control else { return Ok(None) };
    let default_deadline = config.default_deadline;
    let respond = move |request, client: Client<'_>| respond(request, client, &events, default_deadline);
    let server = Server::start(path, Arc::new(respond));
    let server =
        server.map_err(|error| Failed::new(format_args!("control socket {}: {error}", path.display())))?;
    tracing::info!("control socket at {}", path.display());
    Ok(Some(server))
}

/// Answers a control client, on its connection's thread.
fn respond(
    request: Request,
    client: Client<'_>,
    events: &SyncSender<Event>,
    default_deadline: Duration,
) -> Answer {
    let answered = match request {
        Request::Call(call) => call_packed(call, client, events, default_deadline),
        Request::Names {} => {
            let timeout = CLIENT_PATIENCE;
            ask(events, client, timeout, |result| Ask::Status { timeout, result })
                .map(|status| Answer::Names(names::of_status(&status)))
        }
    };
    answered.unwrap_or_else(Answer::Error)
}

fn call_packed(
    call: Call,
    client: Client<'_>,
    events: &SyncSender<Event>,
    default_deadline: Duration,
) -> Result<Answer, Failure> {
    let malformed = |error: &dyn std::fmt::Display| Failure::new("request", error);
    let callee: Callee = call.to.parse().map_err(|error| malformed(&error))?;
    let values = json::to_values(&call.arguments).map_err(|error| malformed(&error))?;
    let payload = Payload::from(seri::pack(&values).map_err(|error| malformed(&error))?);
    let timeout = call.timeout_ms.map_or(default_deadline, Duration::from_millis).min(CALL_TIME_MAX);
    let reply = ask(events, client, timeout, |result| Ask::Call { callee, payload, timeout, result })?;
    let values = seri::unpack(&reply).map_err(|error| failure(error.into()))?;
    let shown = json::from_values(&values).map_err(|error| Failure::new("too_deep", error))?;
    Ok(Answer::Reply(shown))
}

/// Passes a wish to the node and waits for its result, as long as the client does.
fn ask<T>(
    events: &SyncSender<Event>,
    client: Client<'_>,
    timeout: Duration,
    make: impl FnOnce(SyncSender<Result<T, CallError>>) -> Ask,
) -> Result<T, Failure> {
    let (sender, result) = mpsc::sync_channel(1);
    let asked = events.send(Event::Ask(make(sender)));
    let shutdown = || failure(CallError::Shutdown);
    asked.map_err(|_| shutdown())?;
    let deadline = Instant::now() + timeout.saturating_add(CLIENT_PATIENCE);
    loop {
        let left = deadline.since(Instant::now());
        match result.recv_timeout(left.min(CLIENT_LOOK)) {
            Ok(result) => return result.map_err(failure),
            Err(RecvTimeoutError::Disconnected) => return Err(shutdown()),
            // Its call goes on to its deadline; its connection is free for others.
            Err(RecvTimeoutError::Timeout) if left.is_zero() || client.is_gone() => {
                return Err(failure(CallError::Timeout));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
