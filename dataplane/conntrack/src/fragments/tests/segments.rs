//! A datagram as one frame, whose fragments have any number of segments.

use super::*;

/// A frame in several segments.
#[derive(Debug)]
struct Segmented(Vec<Vec<u8>>);

impl Frame for Segmented {
    fn port(&self) -> PortId {
        PortId(0)
    }

    fn head(&self) -> &[u8] {
        &self.0[0]
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.0[0]
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        self.0[1..].iter().map(Vec::as_slice)
    }
}

#[test]
fn a_datagram_is_read_across_the_segments_of_its_fragments() {
    for family in FAMILIES {
        let header_bytes = if family == Family::V4 { 34 } else { 62 };
        let cuts = [(0, 2, false), (2, 3, false), (3, 5, true)];
        let frames =
            cuts.map(|(start, end, is_last)| Cut::of(family, start, end, is_last).packet(start as u8).1);
        let payloads: Vec<u8> = frames.iter().flat_map(|frame| frame[header_bytes..].to_vec()).collect();
        let datagram = [&frames[0][..header_bytes], &payloads].concat();
        // What links put behind short frames is no part of it.
        for (first, second, padding) in [(0, 0, 0), (3, 3, 9), (8, 12, 1), (100, 100, 5)] {
            let now = Instant::from_ns(0);
            let mut fragments = Fragments::new(1 << 20, RandomState::with_seeds(1, 2, 3, 4), now);
            let mut whole = None;
            for frame in frames.iter().rev() {
                let mut frame = [&frame[..], &vec![0xee; padding]].concat();
                let rest = frame.split_off((header_bytes + second).min(frame.len()));
                let middle = frame.split_off((header_bytes + first).min(frame.len()));
                let packet = Segmented(vec![frame, middle, rest]);
                let offsets = piece::find(&packet, &wire::parse(&packet).unwrap()).unwrap();
                let piece = Piece::read(&packet, offsets, 0).unwrap();
                let lose = &mut |_, reason| panic!("{reason:?}");
                let limits = FragmentLimits::default();
                whole = fragments.add(now, &limits, piece, packet, lose).unwrap();
            }
            crate::fragments::read(&mut fragments, whole.unwrap(), |whole| {
                let bytes: Vec<&[u8]> = [whole.head()].into_iter().chain(whole.tail()).collect();
                assert_eq!((bytes.concat(), whole.len_bytes()), (datagram.clone(), datagram.len()));
            });
            assert_eq!(check(&fragments), Ok(1));
        }
    }
}
