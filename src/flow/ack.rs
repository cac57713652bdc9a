//! A promise to a sender, settled once.

use tokio::sync::oneshot;

use crate::model::Refusal;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Every line was scanned, and whatever it caused is on disk.
    Durable,
    /// The same request was committed before: nothing was done, and nothing needs to be.
    Repeated,
    /// Not taken; the sender may try again or not, by reason.
    Refused(Refusal),
    /// Nobody settled it: the process is going down or a stage died. Never success.
    Abandoned,
}

/// The side that settles. Dropped unsettled, it says [`Fate::Abandoned`].
#[must_use = "an ack that is dropped tells the sender that its data was not taken"]
#[derive(Debug)]
pub struct Ack(oneshot::Sender<Fate>);

/// The side that waits.
#[derive(Debug)]
pub struct Receipt(Known);

#[derive(Debug)]
enum Known {
    Already(Fate),
    Later(oneshot::Receiver<Fate>),
}

impl Ack {
    /// A new promise and the place to wait for it.
    pub fn pair() -> (Self, Receipt) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), Receipt(Known::Later(receiver)))
    }

    /// Tells the sender. A sender that went away is no error: its data is as durable as any.
    pub fn settle(self, fate: Fate) {
        // An error means that nobody waits any more.
        self.0.send(fate).ok();
    }
}

impl Receipt {
    /// Waits until the promise is settled or dropped.
    pub async fn fate(self) -> Fate {
        match self.0 {
            Known::Already(fate) => fate,
            Known::Later(receiver) => receiver.await.unwrap_or(Fate::Abandoned),
        }
    }
}

/// A fate that is known at once.
impl From<Fate> for Receipt {
    fn from(fate: Fate) -> Self {
        Self(Known::Already(fate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ack_dropped_unsettled_is_never_success() {
        let (ack, receipt) = Ack::pair();
        drop(ack);
        assert_eq!(receipt.fate().await, Fate::Abandoned);

        let (ack, receipt) = Ack::pair();
        ack.settle(Fate::Durable);
        assert_eq!(receipt.fate().await, Fate::Durable);
    }
}
