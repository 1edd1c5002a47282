-- Reports what players won to the global name RANK. It does not matter who that is, where it is, or whether it is there
-- already: the first call waits for the name.
local skynet = require "skynet"

local games = {
	{ player = "ann", points = 5 },
	{ player = "bob", points = 3 },
	{ player = "bob", points = 4 },
	{ player = "eve", points = 1 },
}

skynet.start(function()
	skynet.fork(function()
		for _, game in ipairs(games) do
			local points, word = skynet.call("RANK", "lua", "report", game)
			skynet.error(string.format("gate: %s has %d, the hall says %s", game.player, points, word))
		end
		for place, row in ipairs(skynet.call("RANK", "lua", "top", 2)) do
			skynet.error(string.format("gate: place %d: %s with %d", place, row[1], row[2]))
		end
		local ok, reason = pcall(skynet.call, "RANK", "lua", "report", { player = "ann", points = "many" })
		skynet.error("gate: points that are no number:", ok, reason)
	end)
end)
