//! The page in a real browser, against a gateway of the program itself and a simulated Close.

mod access;
mod browser;
mod controls;
mod cost;
mod hostile;
mod http;
mod looks;
mod many;
mod oauth;
mod once;
mod refusals;
mod routes;
mod trouble;
mod walk;
mod world;
