//! `skyharbor call --join`: a node that lives for one call.

use crate::callee::Callee;
use crate::check;
use crate::json;
use crate::limits::LEAVE_TIME_MAX;
use crate::outcome::Failed;
use serde_json::Value as Json;
use skyharbor::node::Role;
use skyharbor::prelude::*;
use skyharbor::seri;
use std::path::Path;
use std::time::Duration;

/// Joins the cluster, calls, leaves, and gives the reply.
///
/// # Errors
/// The configuration is not that of a slave, or there is no reply.
pub(crate) fn call(
    config: &Path,
    callee: &Callee,
    values: &[Json],
    timeout: Duration,
) -> Result<Vec<Json>, Failed> {
    let config = check::read(config)?;
    if config.role() != Role::Slave {
        return Err(Failed::usage(
            "--join needs the configuration of a slave: a harbor id, an address and a master",
        ));
    }
    let to = match callee {
        Callee::Handle(handle) => Destination::from(*handle),
        Callee::Global(name) => Destination::from(*name),
        Callee::Local(name) => {
            return Err(Failed::usage(format_args!("{name} is a name of one node; --join has no services")));
        }
    };
    let values = json::to_values(values).map_err(Failed::usage)?;
    let payload = seri::pack(&values).map_err(Failed::usage)?;
    let node = Node::start(config).map_err(Failed::new)?;
    let reply = node.call_raw_blocking(to, Kind::LUA, payload, timeout);
    // The reply, or its absence, is what was asked for; a node that ends with its process has left.
    let _ = node.shutdown(LEAVE_TIME_MAX);
    let values = seri::unpack(&reply.map_err(Failed::new)?).map_err(Failed::new)?;
    json::from_values(&values).map_err(Failed::new)
}
