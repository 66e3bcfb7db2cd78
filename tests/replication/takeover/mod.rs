//! An account that the Python service has filled is linked: planned, looked at, merged, left again. Judged
//! from the account's tables, index and bucket and from the device's database.

mod account;
mod cheap;
mod modes;
mod shapes;
mod trouble;
