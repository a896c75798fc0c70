//! Huge-page arenas and prefetch.
