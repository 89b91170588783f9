//! The page in a real browser, against a gateway of the program itself and a simulated Close.

mod access;
mod browser;
mod controls;
mod hostile;
mod http;
mod looks;
mod many;
mod oauth;
mod refusals;
mod routes;
mod walk;
mod world;
