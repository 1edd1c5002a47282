//! Requests that arrive as bytes: from other nodes, or through a bare handle.

use super::context::Context;
use super::respond::Encode;
use super::service::{Handler, Service, Wire};
use crate::message::{CallError, Envelope, Kind, Payload};
use crate::queue::Parcel;
use crate::seri;

type Method<S> = fn(&mut S, &mut Context<'_, S>, &[u8]);

/// The typed requests of a service that bytes may reach; filled by [`Service::methods`].
pub struct Methods<S: Service> {
    table: MethodTable<S>,
}

/// Methods by name, sorted.
pub(crate) struct MethodTable<S: Service>(Vec<(&'static str, Method<S>)>);

impl<S: Service> Methods<S> {
    /// The table of a service type, `None` if it has no methods.
    pub(crate) fn collect() -> Option<MethodTable<S>> {
        let mut methods = Self { table: MethodTable(Vec::new()) };
        S::methods(&mut methods);
        let mut table = methods.table;
        table.0.sort_by_key(|(name, _)| *name);
        let twice = table.0.windows(2).find(|pair| pair[0].0 == pair[1].0);
        if let Some(pair) = twice {
            panic!("the method name {:?} is registered twice", pair[0].0);
        }
        (!table.0.is_empty()).then_some(table)
    }

    /// Lets bytes reach the handler of `R`, under the name [`Wire::NAME`].
    ///
    /// # Panics
    /// The first spawn of a service panics if it registers one name twice.
    pub fn on<R: Wire>(&mut self) -> &mut Self
    where
        S: Handler<R>,
    {
        self.table.0.push((R::NAME, run::<S, R>));
        self
    }
}

impl<S: Service> MethodTable<S> {
    /// The method that a message names with its first value, and its arguments.
    pub(crate) fn find<'m>(&self, envelope: &'m Envelope) -> Option<(Method<S>, &'m [u8])> {
        if envelope.kind != Kind::LUA {
            return None;
        }
        let (name, arguments) = split_name(envelope.body.bytes()?)?;
        let found = self.0.binary_search_by(|(key, _)| key.as_bytes().cmp(name)).ok()?;
        Some((self.0[found].1, arguments))
    }
}

fn run<S: Handler<R>, R: Wire>(service: &mut S, ctx: &mut Context<'_, S>, arguments: &[u8]) {
    ctx.worker.origin.encode = Some(encode::<R::Reply> as Encode);
    match seri::from_values::<R>(arguments) {
        Ok(request) => {
            let reply = service.handle(request, ctx);
            ctx.finish(reply);
        }
        Err(fault) => ctx.worker.settle(ctx.core.handle, fault.into()),
    }
}

/// The string that a message begins with, and the values behind it.
pub(crate) fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = seri::Reader::new(bytes);
    let name = reader.read().ok()??.as_bytes()?;
    Some((name, &bytes[reader.offset()..]))
}

/// Packs a reply of type `T`.
fn encode<T: serde::Serialize + Send + 'static>(value: Parcel) -> Result<Payload, CallError> {
    let unencodable = CallError::Malformed { offset: 0, reason: "the reply cannot be packed" };
    let value = value.open::<T>().map_err(|_| unencodable)?;
    let mut bytes = Vec::new();
    seri::to_values(&value, &mut bytes).map_err(|_| unencodable)?;
    Ok(Payload::from(bytes.as_slice()))
}

/// Packs a request with its name.
pub(crate) fn pack_request<R: Wire>(request: &R) -> Result<Payload, CallError> {
    let mut bytes = Vec::with_capacity(64);
    let unencodable = |_| CallError::Malformed { offset: 0, reason: "the request cannot be packed" };
    seri::to_values(R::NAME, &mut bytes).map_err(unencodable)?;
    seri::to_values(request, &mut bytes).map_err(unencodable)?;
    Ok(if bytes.len() <= Payload::INLINE_LEN {
        Payload::from(bytes.as_slice())
    } else {
        Payload::from(bytes)
    })
}
