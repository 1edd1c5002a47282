//! Requests that arrive as bytes: from other nodes, or through a bare handle.

use super::context::Context;
use super::respond::Encode;
use super::service::{BY_VARIANT, Handler, Service, Wire};
use crate::message::{CallError, Envelope, Kind, Payload};
use crate::queue::Parcel;
use crate::seri;

type Method<S> = fn(&mut S, &mut Context<'_, S>, &[u8]);

/// The typed requests of a service that bytes may reach; filled by [`Service::methods`].
pub struct Methods<S: Service> {
    table: MethodTable<S>,
}

/// Methods by name, sorted.
pub(crate) struct MethodTable<S: Service>(Vec<Entry<S>>);

struct Entry<S: Service> {
    name: &'static str,
    method: Method<S>,
    /// The name is a variant's and part of the request.
    is_variant: bool,
}

impl<S: Service> Methods<S> {
    /// The table of a service type, `None` if it has no methods.
    pub(crate) fn collect() -> Option<MethodTable<S>> {
        let mut methods = Self { table: MethodTable(Vec::new()) };
        S::methods(&mut methods);
        let mut table = methods.table;
        table.0.sort_by_key(|entry| entry.name);
        let twice = table.0.windows(2).find(|pair| pair[0].name == pair[1].name);
        if let Some(pair) = twice {
            panic!("the method name {:?} is registered twice", pair[0].name);
        }
        (!table.0.is_empty()).then_some(table)
    }

    /// Lets bytes reach the handler of `R`, under the name [`Wire::NAME`], or with [`BY_VARIANT`] under the name of each
    /// variant.
    ///
    /// # Panics
    /// The first spawn of a service panics if it registers one name twice, or a type [`BY_VARIANT`] that serde reads as
    /// something else than an enum.
    pub fn on<R: Wire>(&mut self) -> &mut Self
    where
        S: Handler<R>,
    {
        let method: Method<S> = run::<S, R>;
        if R::NAME != BY_VARIANT {
            self.table.0.push(Entry { name: R::NAME, method, is_variant: false });
            return self;
        }
        let Some(names) = seri::variant_names::<R>() else {
            panic!("{} has no method name and is no enum of methods", std::any::type_name::<R>())
        };
        self.table.0.extend(names.iter().map(|name| Entry { name, method, is_variant: true }));
        self
    }
}

impl<S: Service> MethodTable<S> {
    /// The method that a message names with its first value, and the values that are its request.
    pub(crate) fn find<'m>(&self, envelope: &'m Envelope) -> Option<(Method<S>, &'m [u8])> {
        if envelope.kind != Kind::LUA {
            return None;
        }
        let message = envelope.body.bytes()?;
        let (name, arguments) = split_name(message)?;
        let found = self.0.binary_search_by(|entry| entry.name.as_bytes().cmp(name)).ok()?;
        let Entry { method, is_variant, .. } = self.0[found];
        Some((method, if is_variant { message } else { arguments }))
    }
}

fn run<S: Handler<R>, R: Wire>(service: &mut S, ctx: &mut Context<'_, S>, arguments: &[u8]) {
    ctx.worker.origin.encode = Some(encode::<R::Reply> as Encode);
    match seri::from_values::<R>(arguments) {
        Ok(request) => {
            let reply = service.handle(request, ctx);
            ctx.finish(reply);
        }
        Err(fault) => {
            // A caller on another node is told that the call failed and not why.
            tracing::debug!(
                service = ctx.label(),
                source = %ctx.source(),
                request = std::any::type_name::<R>(),
                value = fault.path(arguments),
                "a request was refused: {fault}"
            );
            ctx.worker.settle(ctx.core.handle, fault.into());
        }
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
    if R::NAME != BY_VARIANT {
        seri::to_values(R::NAME, &mut bytes).map_err(unencodable)?;
    }
    seri::to_values(request, &mut bytes).map_err(unencodable)?;
    Ok(if bytes.len() <= Payload::INLINE_LEN {
        Payload::from(bytes.as_slice())
    } else {
        Payload::from(bytes)
    })
}

/// The request that was packed.
pub(crate) fn unpack_request<R: Wire>(message: &[u8]) -> Option<R> {
    let arguments = if R::NAME == BY_VARIANT { message } else { split_name(message)?.1 };
    seri::from_values(arguments).ok()
}
