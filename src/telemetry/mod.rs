//! What the gateway tells about itself: counters, histograms, access records; names and numbers only.
