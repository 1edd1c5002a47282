local skynet = require "skynet"
require "skynet.manager"

skynet.start(function()
	skynet.name("HALL", skynet.newservice("hall"))
	skynet.newservice("gate")
end)
