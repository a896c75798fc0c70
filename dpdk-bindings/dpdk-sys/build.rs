//! Generates the bindings and compiles the wrappers of DPDK's static inline functions.

use std::env;
use std::path::PathBuf;

/// The functions that are bound; the types they need follow from them.
const FUNCTIONS: &[&str] = &[
    "dpdk_errno",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eal_init",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_info_get",
    "rte_eth_dev_is_valid_port",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_dev_rss_reta_update",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_link_get_nowait",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_burst",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_stats_reset",
    "rte_eth_tx_burst",
    "rte_eth_tx_queue_setup",
    "rte_get_tsc_hz",
    "rte_mempool_avail_count",
    "rte_pause",
    "rte_pktmbuf_alloc",
    "rte_pktmbuf_free",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    "rte_rdtsc",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
];

/// The constants that are bound.
const CONSTANTS: &[&str] = &[
    "DPDK_.*",
    "RTE_ETH_LINK_UP",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_ETH_RETA_GROUP_SIZE",
    "RTE_MAX_ETHPORTS",
    "RTE_MBUF_F_RX_(IP_CKSUM|L4_CKSUM|RSS_HASH).*",
    "RTE_PKTMBUF_HEADROOM",
];

/// The libraries that hold the functions above. Drivers are plugins that EAL loads by itself.
const LIBRARIES: &[&str] = &["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=wrapper.h");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));

    let dpdk = pkg_config::Config::new()
        .atleast_version("22.11")
        .cargo_metadata(false)
        .probe("libdpdk")
        .expect("DPDK >= 22.11 with its headers (Debian: libdpdk-dev)");
    let mut flags: Vec<String> =
        dpdk.include_paths.iter().map(|path| format!("-I{}", path.display())).collect();
    // DPDK's headers expect its build configuration, and at least SSE4.2 on x86. pkg-config says so, too, but the
    // crate gives us its include paths only.
    flags.extend(["-include".into(), "rte_config.h".into()]);
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        flags.push("-march=corei7".into());
    }

    let wrappers = out.join("wrappers");
    let mut bindings = bindgen::builder()
        .header("wrapper.h")
        .clang_args(&flags)
        .wrap_static_fns(true)
        .wrap_static_fns_path(&wrappers)
        .generate_comments(false)
        .derive_default(false);
    for function in FUNCTIONS {
        bindings = bindings.allowlist_function(function);
    }
    for constant in CONSTANTS {
        bindings = bindings.allowlist_var(constant);
    }
    bindings
        .generate()
        .expect("bindgen reads DPDK's headers")
        .write_to_file(out.join("bindings.rs"))
        .expect("OUT_DIR is writable");

    let mut wrappers_build = cc::Build::new();
    wrappers_build.file(wrappers.with_extension("c")).include(env!("CARGO_MANIFEST_DIR")).opt_level(3);
    for flag in &flags {
        wrappers_build.flag(flag);
    }
    wrappers_build.warnings(false).compile("dpdk_wrappers");

    for path in &dpdk.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
}
