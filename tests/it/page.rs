//! The page in a real browser, against a gateway of the program itself and a simulated Close.

mod access;
mod browser;
mod http;
mod looks;
mod oauth;
mod walk;
mod world;
