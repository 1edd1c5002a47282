-- The hall of fame. The rank service, which is Rust on another node, calls it by its global name.
local skynet = require "skynet"

local command = {}

function command.leader(player, points)
	skynet.error(string.format("hall: %s leads with %d", player, points))
	return "all hail " .. player
end

skynet.start(function()
	skynet.dispatch("lua", function(session, _, name, ...)
		local f = assert(command[name], name)
		if session == 0 then
			f(...)
		else
			skynet.retpack(f(...))
		end
	end)
end)
