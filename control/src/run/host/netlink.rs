//! What the kernel is told of a TAP, over netlink (rtnetlink(7)), in the namespace of the calling thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder};
use sluice_conntrack::forward::MacAddress;

use super::{HostNetwork, HostRoute};

/// Runs something with a connection to the kernel, which lasts as long.
pub(in crate::run) fn with_kernel<T>(ask: impl AsyncFnOnce(&Handle) -> T) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(ask(&handle).await)
    })
}

/// Gives an interface its MAC address and MTU, and takes it up. It has no ARP and no neighbour discovery (`arp off`): the box
/// answers these itself, and finds the way to whomever the host sends to.
///
/// # Errors
/// The kernel refuses.
pub(super) fn set_up(index: u32, mac: MacAddress, mtu: u16) -> io::Result<()> {
    let link = LinkUnspec::new_with_index(index).address(mac.to_vec()).mtu(mtu.into()).arp(false).up();
    with_kernel(async |kernel| kernel.link().set(link.build()).execute().await)?.map_err(io::Error::other)
}

/// Changes an interface's addresses and routes from what they were to what is wanted; `refused` hears what the kernel does not
/// take.
///
/// # Errors
/// The kernel cannot be spoken to.
pub(super) fn apply(
    index: u32,
    before: &HostNetwork,
    wanted: &HostNetwork,
    mut refused: impl FnMut(String),
) -> io::Result<()> {
    with_kernel(async |kernel| {
        // What an address brings with it goes with it, so addresses come first.
        for address in before.addresses.iter().filter(|address| !wanted.addresses.contains(address)) {
            if let Err(why) = remove_address(kernel, index, *address).await {
                refused(format!("address {address} stays: {why}"));
            }
        }
        for address in &wanted.addresses {
            let add = kernel.address().add(index, address.addr(), address.prefix_len()).replace();
            if let Err(why) = add.execute().await {
                refused(format!("address {address}: {why}"));
            }
        }
        for route in before.routes.iter().filter(|route| !wanted.routes.contains(route)) {
            // One whose gateway went with an address is gone.
            let _ = kernel.route().del(message(index, *route)).execute().await;
        }
        for route in &wanted.routes {
            if let Err(why) = kernel.route().add(message(index, *route)).replace().execute().await {
                refused(format!("route to {}: {why}", route.to));
            }
        }
    })
}

async fn remove_address(kernel: &Handle, index: u32, address: IpNet) -> Result<(), rtnetlink::Error> {
    let message = match address {
        IpNet::V4(own) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(own.addr(), own.prefix_len())
            .build(),
        IpNet::V6(own) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(own.addr(), own.prefix_len())
            .build(),
    };
    kernel.address().del(message).execute().await
}

/// A route over an interface. Its gateway need not be in a network there: the box knows how to reach it.
fn message(index: u32, HostRoute { to, via }: HostRoute) -> rtnetlink::packet_route::route::RouteMessage {
    match (to, via) {
        (IpNet::V4(to), Some(IpAddr::V4(via))) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.addr(), to.prefix_len())
            .gateway(via)
            .output_interface(index)
            .onlink()
            .build(),
        (IpNet::V4(to), _) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.addr(), to.prefix_len())
            .output_interface(index)
            .build(),
        (IpNet::V6(to), Some(IpAddr::V6(via))) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(to.addr(), to.prefix_len())
            .gateway(via)
            .output_interface(index)
            .onlink()
            .build(),
        (IpNet::V6(to), _) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(to.addr(), to.prefix_len())
            .output_interface(index)
            .build(),
    }
}
