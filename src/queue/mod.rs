//! Lock-free queues and the storage that they move, one algorithm per file. Nothing here knows what a service is.

mod parcel;

pub use parcel::Parcel;
