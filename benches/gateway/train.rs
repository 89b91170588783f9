//! Traffic for an instrumented build of closegate, which writes down at its end what it has run (`benches/pgo/build`).

use crate::Result;
use crate::contenders::{Contender, Http, Place, presented};
use crate::driver::{self, Target};
use crate::scenario::Scenario;

/// Takes a build through every scenario, with each choice of HTTP towards the origin, and ends it in good order.
pub(crate) fn train(place: &Place<'_>, requests: usize) -> Result<()> {
    for http in [Http::Auto, Http::H1, Http::H2] {
        let contender = Contender::Closegate(http);
        let running = contender.start(place)?;
        let target = Target { port: running.port(), authorization: presented() };
        for scenario in Scenario::all() {
            let failed = driver::drive(&target, &scenario, scenario.requests(requests))?;
            if failed > 0 {
                return Err(format!("{}: {failed} requests of {} failed", contender.name(), scenario.name).into());
            }
        }
        running.end()?;
    }
    Ok(())
}
