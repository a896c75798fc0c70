-- A million connections of UDP through a box, for Pktgen-DPDK: opened once, then packets of all of them both ways.
--
--     pktgen -l 0-2 -a PCI0 -a PCI1 -- -P -m "[1].0, [2].1" -f bench/pktgen/connections.lua
--
-- Port 0 is before the side that may open connections, port 1 behind it; the networks are those of RFC 2544. All fields of a
-- packet go on together, so their ranges have no common factor: 1009 client ports and 1021 server ports make each pair once.

local clients, servers = "198.18.0.1", "198.19.0.1"
local client_ports = { first = 1024, count = 1009 }
local server_ports = { first = 49152, count = 1021 }
local connections = client_ports.count * server_ports.count

-- The search ends where it knows to within so many percent of the line rate.
local resolution = 0.5
local trial_ms, drain_ms = 10000, 2000

local function address(field, port, value)
    for _, bound in ipairs({ "start", "min", "max" }) do
        field(port, bound, value)
    end
    field(port, "inc", "0.0.0.0")
end

local function ports(field, port, range)
    field(port, "start", range.first)
    field(port, "min", range.first)
    field(port, "max", range.first + range.count - 1)
    field(port, "inc", 1)
end

local function size(port, bytes)
    for _, bound in ipairs({ "start", "min", "max" }) do
        pktgen.range.pkt_size(port, bound, bytes)
    end
    pktgen.range.pkt_size(port, "inc", 0)
end

local function set_up()
    pktgen.range.ip_proto("all", "udp")
    address(pktgen.range.src_ip, "0", clients)
    address(pktgen.range.dst_ip, "0", servers)
    ports(pktgen.range.src_port, "0", client_ports)
    ports(pktgen.range.dst_port, "0", server_ports)
    address(pktgen.range.src_ip, "1", servers)
    address(pktgen.range.dst_ip, "1", clients)
    ports(pktgen.range.src_port, "1", server_ports)
    ports(pktgen.range.dst_port, "1", client_ports)
    size("0", 64)
    size("1", 64)
    pktgen.set_range("all", "on")
end

-- Sends so many packets, or for a while where it is 0, and says how many did not come out at the other port.
local function trial(from, rate, count)
    pktgen.clr()
    pktgen.set(from, "rate", rate)
    pktgen.set(from, "count", count)
    pktgen.start(from)
    repeat
        pktgen.delay(trial_ms)
    until pktgen.portStats("all", "port")[0].opackets >= count
    pktgen.stop(from)
    pktgen.delay(drain_ms)
    local stats = pktgen.portStats("all", "port")
    local sent = stats[0].opackets + stats[1].opackets
    local received = stats[0].ipackets + stats[1].ipackets
    print(string.format("%5.1f%% of the line rate: sent %d, received %d", rate, sent, received))
    return sent - received
end

-- The highest rate without a loss, in percent of the line rate, by halving (RFC 2544, 26.1).
local function throughput()
    local low, high = 0, 100
    local rate = high
    while high - low > resolution do
        if trial("all", rate, 0) == 0 then
            low = rate
            if rate == 100 then
                break
            end
        else
            high = rate
        end
        rate = (low + high) / 2
    end
    return low
end

set_up()
local lost = trial("0", 1, connections)
if lost > 0 then
    print(lost .. " connections were not opened: is the box's table large enough, and does its policy let them pass?")
else
    print("throughput over " .. connections .. " connections: " .. throughput() .. "% of the line rate")
end
