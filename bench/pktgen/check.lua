-- Runs connections.lua on a Pktgen of its own that knows what it is told and loses packets above 40% of the line rate:
--
--     lua5.4 bench/pktgen/check.lua
--
-- Fails where a function is called that Pktgen does not have, or where the search finds anything else.

local told, rate, count, packets = {}, 100, 0, { [0] = 0, [1] = 0 }
local lossless = 40
local going, said = {}, {}

local function tell(name)
    return function(port, bound, value)
        told[name .. " " .. port .. " " .. bound] = value
    end
end

pktgen = {
    range = {},
    set_range = function(port, state)
        assert(port == "all" and state == "on")
    end,
    clr = function()
        packets = { [0] = 0, [1] = 0 }
    end,
    set = function(_, what, value)
        if what == "rate" then
            rate = value
        else
            assert(what == "count")
            count = value
        end
    end,
    start = function(port)
        going = port == "all" and { 0, 1 } or { tonumber(port) }
    end,
    -- A thousand packets a millisecond at the line rate.
    delay = function(ms)
        for _, port in ipairs(going) do
            packets[port] = packets[port] + ms * 10 * rate
            if count > 0 then
                packets[port] = math.min(packets[port], count)
            end
        end
    end,
    stop = function()
        going = {}
    end,
    portStats = function()
        local lost = rate > lossless and 1 or 0
        return {
            [0] = { opackets = packets[0], ipackets = packets[1] - lost },
            [1] = { opackets = packets[1], ipackets = packets[0] - lost },
        }
    end,
}
for _, name in ipairs({ "src_ip", "dst_ip", "src_port", "dst_port", "pkt_size" }) do
    pktgen.range[name] = tell(name)
end
pktgen.range.ip_proto = function(port, protocol)
    assert(port == "all" and protocol == "udp")
end

local output = print
print = function(line)
    said[#said + 1] = line
end
dofile((arg[0]:gsub("check.lua$", "connections.lua")))
print = output

for _, bound in ipairs({ "start", "min", "max", "inc" }) do
    for field, mirrored in pairs({ src_ip = "dst_ip", dst_ip = "src_ip", src_port = "dst_port", dst_port = "src_port" }) do
        local there, back = told[field .. " 0 " .. bound], told[mirrored .. " 1 " .. bound]
        assert(there ~= nil and there == back, field .. " " .. bound .. ": the two ways are not each other's")
    end
end
local found = tonumber(said[#said]:match("throughput over 1030189 connections: ([%d.]+)%% of the line rate"))
assert(found and found <= lossless and found > lossless - 0.5, said[#said])
