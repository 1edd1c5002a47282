-- A real Skynet node under the nemesis: agents that answer letters and keep the same ledger as agents of ours. They write to
-- nobody: a real node's calls wait for ever when their callee is killed.
--
-- The first one has no argument and starts the others. Bytes and checks are those of letter.rs and ledger.rs.

local skynet = require "skynet"
local harbor = require "skynet.harbor"
require "skynet.manager"

local HEAD <const>, CHECK <const> = 32, 24
local ANSWER <const> = 0x80
local BORN <const>, NAMED <const>, GOT <const>, CORRUPT <const> = 1, 2, 6, 7

local agent = ...

local function setting(name)
	return math.tointeger(tonumber(skynet.getenv(name)))
end

-- splitmix64, as random.rs has it.
local function mix(value)
	local z = value + 0x9e3779b97f4a7c15
	z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ~ (z >> 27)) * 0x94d049bb133111eb
	return z ~ (z >> 31)
end

local function fold(check, bytes, from, to)
	while to - from >= 7 do
		check = mix(check ~ string.unpack("<i8", bytes, from))
		from = from + 8
	end
	if from <= to then
		local word = bytes:sub(from, to)
		check = mix(check ~ string.unpack("<i8", word .. ("\0"):rep(8 - #word)))
	end
	return check
end

local seed

local function check_of(bytes)
	return fold(fold(mix(seed ~ #bytes), bytes, 1, CHECK), bytes, HEAD + 1, #bytes)
end

local function read_letter(bytes)
	if #bytes < HEAD then
		return
	end
	local letter = {}
	local check
	letter.life, letter.agent, letter.form, letter.slot, letter.other, letter.wait, letter.handle, letter.number, check =
		string.unpack("<I4I2I1I1I2I2I4i8i8", bytes)
	if check == check_of(bytes) and letter.form & ANSWER == 0 then
		return letter
	end
end

local function answer_to(letter, life)
	local head = string.pack("<I4I2I1I1I2I2I4i8", letter.life, letter.agent, letter.form | ANSWER, letter.slot, letter.other,
		letter.wait, life, letter.number)
	return head .. string.pack("<i8", check_of(head .. ("\0"):rep(HEAD - CHECK)))
end

local ledger

local function record(what, own, fields)
	local body = string.pack("<I1I1I1I1I4i8i8I4I4I2I2I2", what, fields.code or 0, fields.form or 0, fields.slot or 0,
		fields.life or 0, fields.number or 0, skynet.hpc(), fields.handle or 0, fields.bytes or 0, own, fields.other or 0,
		fields.wait or 0)
	body = body .. ("\0"):rep(56 - #body)
	assert(ledger:write(body .. string.pack("<i8", fold(0, body, 1, #body))))
end

local function got(own, letter, asks)
	record(GOT, own, {
		code = asks and 1 or 0,
		form = letter.form,
		slot = letter.slot,
		life = letter.life,
		number = letter.number,
		handle = letter.handle,
		bytes = letter.agent,
		other = letter.other,
		wait = letter.wait,
	})
end

local function serve(own)
	seed = setting "chaos_seed"
	ledger = assert(io.open(skynet.getenv "chaos_ledger", "a"))
	ledger:setvbuf "no"
	local life = setting "chaos_life"
	skynet.register_protocol {
		name = "text",
		id = skynet.PTYPE_TEXT,
		pack = function(bytes)
			return bytes
		end,
		unpack = skynet.tostring,
	}
	skynet.dispatch("text", function(session, _, bytes)
		local letter = read_letter(bytes)
		if not letter then
			record(CORRUPT, own, {})
			return session ~= 0 and skynet.response()(false)
		end
		got(own, letter, session ~= 0)
		if session ~= 0 then
			if letter.wait > 0 then
				skynet.sleep(letter.wait // 10)
			end
			skynet.ret(answer_to(letter, life))
		end
	end)
	record(BORN, own, { handle = skynet.self() })
	harbor.globalname(("chaos-%d-%d"):format(setting "chaos_slot", own), skynet.self())
	record(NAMED, own, {})
end

skynet.start(function()
	if agent then
		return serve(math.tointeger(tonumber(agent)))
	end
	for own = 0, setting "chaos_agents" - 1 do
		skynet.newservice("chaos", tostring(own))
	end
end)
