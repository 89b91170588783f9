//! Connections on the way: one that a request makes for itself, or one that everybody who waits shares.

use std::rc::Rc;

use tokio::sync::watch;

use super::SendFault;
use super::http1::Link;
use super::http2::Trunk;
use super::lane::{Lane, Plan, Way, Weight};
use super::pool::Inner;
use super::seat::Seat;
use crate::net::Offer;
use crate::origin::Scheme;
use crate::task;

/// A connection that is being made; what came of it.
pub(super) type Opening = watch::Receiver<Option<Result<(), SendFault>>>;

/// A connection that was made.
enum Made {
    /// For one exchange after the other.
    Link(Box<Link>),
    /// For streams; the lane has it.
    Trunk,
}

/// A lane's opening until it is over, even by a panic.
struct UnderWay(Rc<Lane>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.opened();
    }
}

impl Inner {
    /// Gets a way to the upstream for a request that found none.
    pub(super) async fn open(self: Rc<Self>, lane: Rc<Lane>, weight: Weight) -> Result<Way, SendFault> {
        for _ in 0..ROUNDS {
            match lane.plan(weight) {
                Plan::Alone(offer) => match self.make(&lane, offer, self.seat(&lane)).await {
                    Ok(Made::Link(link)) => return Ok(Way::Link(link)),
                    Ok(Made::Trunk) => {}
                    Err(fault) if lane.forgoes_http1(offer, &fault) => continue,
                    Err(fault) => return Err(fault),
                },
                Plan::Together(offer) => {
                    let mut opening = lane.opening(|| self.begin(&lane, offer, self.seat(&lane)));
                    match opening.wait_for(Option::is_some).await.as_deref() {
                        Ok(Some(Err(fault))) => return Err(fault.again()),
                        Ok(_) => {}
                        Err(_) => return Err(SendFault::Closed(None)),
                    }
                }
            }
            // Others may have been faster.
            if let Some(way) = lane.take_newest() {
                return Ok(way);
            }
        }
        Err(SendFault::Exhausted)
    }

    /// Makes a connection beside the requests, for those to come; nobody hears if it fails.
    pub(super) fn prepare_link(self: &Rc<Self>, lane: &Rc<Lane>) {
        // It is of use, not of need: nothing makes room for it.
        let seat = || Seat::take(&self.shared, &lane.slot.meters).ok_or(SendFault::Exhausted);
        lane.opening(|| self.begin(lane, Offer::Http1, seat()));
    }

    /// Makes a connection in a task of its own: those who wait for it may leave.
    fn begin(self: &Rc<Self>, lane: &Rc<Lane>, offer: Offer, seat: Result<Seat, SendFault>) -> Opening {
        let (sender, opening) = watch::channel(None);
        let (pool, lane) = (self.clone(), lane.clone());
        task::spawn_local(async move {
            let under_way = UnderWay(lane.clone());
            let made = pool.make(&lane, offer, seat).await;
            drop(under_way);
            sender.send_replace(Some(match made {
                Ok(Made::Link(link)) => {
                    lane.lay(link, pool.sweep.now());
                    Ok(())
                }
                Ok(Made::Trunk) => Ok(()),
                // Those who wait try again with what is known now.
                Err(fault) if lane.forgoes_http1(offer, &fault) => Ok(()),
                Err(fault) => Err(fault),
            }));
        });
        opening
    }

    /// A place for a connection; where there is none left, the one that has lain longest makes room.
    fn seat(&self, lane: &Lane) -> Result<Seat, SendFault> {
        let take = || Seat::take(&self.shared, &lane.slot.meters);
        let seat = take().or_else(|| {
            self.evict();
            take()
        });
        seat.ok_or(SendFault::Exhausted)
    }

    async fn make(&self, lane: &Rc<Lane>, offer: Offer, seat: Result<Seat, SendFault>) -> Result<Made, SendFault> {
        let seat = seat?;
        let stream = self.shared.connector.connect(&lane.slot.origin, offer).await;
        let stream = stream.map_err(|error| SendFault::from(error).told_for(offer))?;
        // Whoever demands HTTP/2 in clear text knows that it is spoken (RFC 9113 3.3).
        let known = offer == Offer::Http2 && lane.slot.origin.scheme() == Scheme::Http;
        let agreed = stream.agreed_on_http2() || known;
        lane.learn(offer, agreed);
        match (agreed, offer) {
            (true, _) => {
                lane.add(Trunk::begin(stream, seat, &self.sweep, self.limits).await?);
                Ok(Made::Trunk)
            }
            (false, Offer::Http2) => Err(SendFault::no_http2()),
            (false, Offer::Http1 | Offer::Both) => Ok(Made::Link(Link::over(stream, seat))),
        }
    }
}

/// How often a request waits for a connection: where each takes few streams, many who wait share many connections.
const ROUNDS: u32 = 32;
