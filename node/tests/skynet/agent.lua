-- The agent of a real node in the live tests: others call it, and it calls others as the test says.
--
-- Commands come from two sides by the same names: as messages of type lua from other nodes, and as lines of text on a
-- socket that only the test uses, so that the test can ask this node what it sees without any link between nodes.
--
-- Times are Skynet's, hundredths of a second. A target is a global name or a handle like ":0200000a".

local skynet = require "skynet"
local harbor = require "skynet.harbor"
local socket = require "skynet.socket"
local datacenter = require "skynet.datacenter"
require "skynet.manager"

local role = ...
local CALL_TIME = 3000
local BLOCK = 65536

-- One block of bytes without a pattern; longer texts repeat it.
local block
do
	local state, bytes = 12345, {}
	for i = 1, BLOCK do
		state = (state * 1103515245 + 12345) & 0x7fffffff
		bytes[i] = string.char(state >> 16 & 0xff)
	end
	block = table.concat(bytes)
end

local function text(number, size)
	local from = number % 1009
	if from + size <= BLOCK then
		return block:sub(from + 1, from + size)
	end
	return block:rep((from + size) // BLOCK + 1):sub(from + 1, from + size)
end

local function address(target)
	if type(target) == "string" and target:sub(1, 1) == ":" then
		return tonumber(target:sub(2), 16)
	end
	return target
end

local function split(list)
	local parts = {}
	for part in tostring(list):gmatch "[^,]+" do
		parts[#parts + 1] = tonumber(part) or part
	end
	return parts
end

-- Runs f, but waits no longer than time: "late", or "failed" and why, or what f returns.
local function within(time, f, ...)
	local arguments = table.pack(...)
	local waiting = coroutine.running()
	local result
	skynet.fork(function()
		result = table.pack(pcall(f, table.unpack(arguments, 1, arguments.n)))
		if waiting then
			skynet.wakeup(waiting)
		end
	end)
	skynet.sleep(time)
	waiting = nil
	if not result then
		return "late"
	end
	if not result[1] then
		return "failed", tostring(result[2]):match "[^\n]*"
	end
	return table.unpack(result, 2, result.n)
end

local function echoed(target, number, size)
	local data = text(number, size)
	local command, same_number, same_data = skynet.call(address(target), "lua", "echo", number, data)
	if command == "echo" and same_number == number and same_data == data then
		return "right"
	end
	return "wrong"
end

-- What was noted, by source and tag: how many, how many out of their order.
local notes = {}
local function noted_by(source, tag)
	local key = source .. " " .. tag
	notes[key] = notes[key] or { count = 0, wrong = 0 }
	return notes[key]
end

local commands = {}

function commands.echo(_, ...)
	return "echo", ...
end

function commands.later(_, time, ...)
	skynet.sleep(time)
	return ...
end

function commands.never()
	skynet.wait()
end

function commands.fail()
	error "the test asked for this error"
end

function commands.exit()
	skynet.exit()
end

function commands.note(source, tag, number)
	local noted = noted_by(source, tag)
	noted.count = noted.count + 1
	if noted.count ~= number then
		noted.wrong = noted.wrong + 1
	end
end

function commands.noted(source, tag)
	local noted = noted_by(source, tag)
	return noted.count, noted.wrong
end

-- Another service of this file: its handle.
function commands.child()
	return skynet.address(skynet.newservice("agent", "child"))
end

function commands.kill(_, target)
	skynet.kill(address(target))
	return "killed"
end

-- One call with its reply checked.
function commands.call(_, target, number, size, time)
	return within(time or CALL_TIME, echoed, target, number, size)
end

-- One call that leaves its trace in the log.
function commands.traced(_, target)
	return within(CALL_TIME, function()
		skynet.trace()
		return echoed(target, 1, 10)
	end)
end

-- Any call: "replied" and its results as text.
function commands.say(_, target, time, ...)
	return within(time, function(...)
		local results = table.pack(skynet.call(address(target), "lua", ...))
		for i = 1, results.n do
			results[i] = tostring(results[i])
		end
		return "replied", table.unpack(results, 1, results.n)
	end, ...)
end

-- What became of the calls of all traffic so far: right, wrong, failed replies.
local made = { right = 0, wrong = 0, failed = 0 }

function commands.progress()
	return made.right, made.wrong, made.failed
end

-- Callers that call one of the targets with one of the sizes again and again, a number of times or for a time, with a
-- pause after each call, none after one that fails: how many replies were right, wrong, not there.
function commands.traffic(_, targets, sizes, callers, calls, time, pause)
	targets, sizes = split(targets), split(sizes)
	local tally, first = { right = 0, wrong = 0, failed = 0 }, ""
	local ends = skynet.now() + time
	local living, waiting = callers, coroutine.running()
	local function count(outcome)
		tally[outcome] = tally[outcome] + 1
		made[outcome] = made[outcome] + 1
	end
	local function one(number)
		local random = (number * 2654435761 >> 13) & 0xffffff
		local target, size = targets[random % #targets + 1], sizes[(random >> 8) % #sizes + 1]
		local outcome, why = within(CALL_TIME, echoed, target, number, size)
		if outcome == "right" or outcome == "wrong" then
			count(outcome)
			return true
		end
		count "failed"
		first = first ~= "" and first or string.format("%s: %s %s", target, outcome, why or "")
		return false
	end
	for caller = 1, callers do
		skynet.fork(function()
			local calls_made = 0
			while calls_made < calls and skynet.now() < ends do
				calls_made = calls_made + 1
				if not one(caller * 1000000 + calls_made) then
					break
				end
				if pause > 0 then
					skynet.sleep(pause)
				end
			end
			living = living - 1
			if living == 0 then
				skynet.wakeup(waiting)
			end
		end)
	end
	skynet.wait()
	return tally.right, tally.wrong, tally.failed, first
end

-- One-way messages in a row, then the receiver's count and how many were out of order.
function commands.burst(_, target, tag, count, size)
	target = address(target)
	for number = 1, count do
		skynet.send(target, "lua", "note", tag, number, text(number, size))
	end
	return within(CALL_TIME, skynet.call, target, "lua", "noted", tag)
end

-- Nanoseconds from a send to its receiver, while the sender works on.
local latencies = {}

function commands.sent(_, begun)
	latencies[#latencies + 1] = skynet.hpc() - begun
end

function commands.latencies()
	return table.unpack(latencies)
end

function commands.handoff(_, target, rounds, milliseconds)
	target = address(target)
	for _ = 1, rounds do
		local begun = skynet.hpc()
		skynet.send(target, "lua", "sent", begun)
		while skynet.hpc() - begun < milliseconds * 1000000 do
		end
		skynet.yield()
	end
	return skynet.call(target, "lua", "latencies")
end

-- A table there and back, as text.
function commands.score(_, target)
	local score = { player = "bob", points = 7.25, tags = { "x", "y" }, levels = { [10] = "ten" } }
	local better = skynet.call(address(target), "lua", "score", score)
	local tags = table.concat(better.tags, ",")
	return better.player, better.points, tags, better.levels[10], better.levels[30], tostring(better.best)
end

-- Shapes as tables and names, and bytes; the same of each back, and how many there were.
function commands.shapes(_, shapes, bytes)
	assert(shapes[1] == "Dot" and shapes[2].Circle == 0.5 and shapes[3].Frame.w == 3 and shapes[4].Path[2] == -2)
	return shapes, bytes, #shapes
end

-- Any call of type debug.
function commands.debug(_, target, time, ...)
	return within(time, function(...)
		return "replied", skynet.call(address(target), "debug", ...)
	end, ...)
end

-- Channels by their ids; what they bring is noted.
local channels = {}

local function channel_of(id)
	if not id or not channels[id] then
		local multicast = require "skynet.multicast"
		local channel = multicast.new {
			channel = id,
			dispatch = function(channel, source, number)
				commands.note(source, "channel" .. channel.channel, number)
			end,
		}
		id = channel.channel
		channels[id] = channel
	end
	return channels[id]
end

function commands.channel()
	return channel_of().channel
end

function commands.subscribe(_, id)
	channel_of(id):subscribe()
	return "subscribed"
end

-- Now and then it waits until a witness has heard all of it: queues stay short.
function commands.publish(_, id, count, window, witness)
	witness = address(witness)
	for number = 1, count do
		channel_of(id):publish(number)
		if number % window == 0 then
			repeat
				local heard = skynet.call(witness, "lua", "noted", "channel" .. id)
			until heard >= number
		end
	end
	return "published"
end

function commands.heard(_, id, source)
	return commands.noted(address(source), "channel" .. id)
end

-- Returns when this node has lost the node.
function commands.lost(_, id)
	harbor.link(id)
	return "lost"
end

-- Returns when this node has a link to the node.
function commands.connected(_, id)
	harbor.connect(id)
	return "connected"
end

-- Returns when this node has lost the master.
function commands.masterless()
	harbor.linkmaster()
	return "masterless"
end

-- The node of a handle, and whether it is another one than this.
function commands.where(_, target)
	return skynet.harbor(address(target))
end

function commands.register(_, name)
	skynet.register(name)
	return "registered"
end

-- A name for any service, by Skynet's own checks or past them.
function commands.name(_, name, target)
	skynet.name(name, address(target))
	return "named"
end

function commands.globalname(_, name, target)
	harbor.globalname(name, address(target))
	return "named"
end

function commands.query(_, name, time)
	return within(time, function()
		return skynet.address(harbor.queryname(name))
	end)
end

function commands.unique(_, name, ...)
	return skynet.address(skynet.uniqueservice(true, name, ...))
end

-- A unique service of this node.
function commands.own(_, name, ...)
	return skynet.address(skynet.uniqueservice(name, ...))
end

function commands.queried(_, name)
	return within(CALL_TIME, function()
		return skynet.address(skynet.queryservice(true, name))
	end)
end

-- What the service manager of the master's node says of all unique services: "name=address", in order.
function commands.listed()
	local list = {}
	for name, state in pairs(skynet.call("SERVICE", "lua", "LIST")) do
		list[#list + 1] = name .. "=" .. state
	end
	table.sort(list)
	return table.concat(list, " ")
end

function commands.set(_, key, value)
	return tostring((datacenter.set(key, value)))
end

function commands.get(_, key)
	return tostring((datacenter.get(key)))
end

function commands.wait(_, key)
	return within(CALL_TIME, datacenter.wait, key)
end

local function serve(connection)
	socket.start(connection)
	while true do
		local line = socket.readline(connection)
		if not line then
			break
		end
		local words = {}
		for word in line:gmatch "%S+" do
			words[#words + 1] = tonumber(word) or word
		end
		local results = table.pack(pcall(commands[words[1]], skynet.self(), table.unpack(words, 2)))
		for i = 1, results.n do
			results[i] = tostring(results[i]):gsub("\n", " ")
		end
		results[1] = results[1] == "true" and "ok" or "no"
		socket.write(connection, table.concat(results, " ", 1, results.n) .. "\n")
	end
	socket.close(connection)
end

skynet.start(function()
	skynet.dispatch("lua", function(session, source, command, ...)
		if command == nil then
			return skynet.ret(skynet.pack())
		end
		if session == 0 then
			return commands[command](source, ...)
		end
		if command == "forward" then
			-- Its answer comes from the target.
			skynet.ignoreret()
			local target = ...
			return skynet.redirect(address(target), source, "lua", session, skynet.pack("echo", select(2, ...)))
		end
		skynet.ret(skynet.pack(commands[command](source, ...)))
	end)
	if role == "child" then
		return
	end
	local id = skynet.getenv "harbor"
	skynet.register("L" .. id)
	local listener, _, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, function(connection)
		skynet.fork(serve, connection)
	end)
	skynet.error(string.format("agent L%s at %s, control at %d", id, skynet.address(skynet.self()), port))
end)
