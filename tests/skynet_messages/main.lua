-- The service of the real node that the test talks to: it subscribes, publishes and calls as it is told.
local skynet = require "skynet"
local harbor = require "skynet.harbor"
local multicast = require "skynet.multicast"

local heard, channels = {}, {}

local function open(id)
	local channel = multicast.new {
		channel = id,
		dispatch = function(_, source, ...)
			heard[#heard + 1] = { source, ... }
		end,
	}
	channel:subscribe()
	channels[channel.channel] = channel
	return channel.channel
end

local command = {}

function command.open(_, id)
	return open(id)
end

function command.publish(_, id, ...)
	channels[id]:publish(...)
	return true
end

function command.leave(_, id)
	channels[id]:unsubscribe()
	return true
end

function command.heard()
	local all = heard
	heard = {}
	return all
end

-- What a debug console asks of a service.
function command.debug(_, address, what)
	return (pcall(skynet.call, address, "debug", what))
end

function command.traced(_, address, ...)
	skynet.trace("semantics")
	return skynet.call(address, "lua", ...)
end

-- A call that is never answered: whoever is asked hears of our end.
function command.wait_for(source, address)
	skynet.fork(pcall, skynet.call, address, "text", "wait")
	return skynet.address(source)
end

function command.die()
	skynet.exit()
end

skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT, pack = tostring, unpack = skynet.tostring }

skynet.start(function()
	skynet.dispatch("lua", function(_, source, name, ...)
		if name == "hang" then
			skynet.response()
		else
			skynet.retpack(command[name](source, ...))
		end
	end)
	harbor.globalname("SEMANTICS", skynet.self())
end)
