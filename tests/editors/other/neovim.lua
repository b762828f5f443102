-- Run in Neovim with the configuration of the README: drives a loop as a person would, and fails with what was said.
local said = {}

vim.notify = function(text)
  table.insert(said, text)
end

local function fail(what)
  io.stderr:write(what .. "; said so far:\n" .. table.concat(said, "\n") .. "\n")
  vim.cmd("cquit 1")
end

-- Waits until something is said that was not waited for before. The time is there to end a test that hangs.
local heard = 0
local function hears(pattern)
  local found = vim.wait(60000, function()
    for at = heard + 1, #said do
      if said[at]:find(pattern) then
        heard = at
        return true
      end
    end
    return false
  end, 10)
  if not found then fail("never said: " .. pattern) end
end

local ok, problem = pcall(function()
  dofile(vim.env.RALPH_CONFIGURATION)
  local client = vim.lsp.get_client_by_id(1)
  if not vim.wait(60000, function() return client.initialized end, 10) then fail("no connection") end

  vim.cmd("RalphStatus")
  hears("^No loop has run here")

  vim.cmd("RalphStart Do the work")
  hears("^Ralph Loop: iteration 1/50 %(custom%)")
  vim.cmd("RalphAddContext Mind HINT-nvim1 please")
  hears("contextId")
  vim.cmd("RalphPause")
  hears("pauseRequested = true")
  vim.fn.delete("hold")
  hears("^Ralph Loop: paused")
  vim.cmd("RalphStatus")
  hears('status = "paused"')

  vim.cmd("RalphResume")
  hears("^Ralph Loop: iteration 2/50")
  hears("^Ralph Loop: completed$")
end)
if not ok then fail(tostring(problem)) end
vim.cmd("qall!")
