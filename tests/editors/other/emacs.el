;; Run in Emacs with the configuration of the README: drives a loop as a person would, and fails with what was said.
(defvar said nil "What was said, the last first.")
(defvar waited 0 "How much of it was waited for.")
(advice-add 'message :before (lambda (format &rest arguments) (when format (push (apply #'format format arguments) said))))

;; Waits until something is said that was not waited for before. The time is there to end a test that hangs.
(defun hears (pattern)
  (let ((deadline (+ (float-time) 60)) found)
    (while (not found)
      (when (> (float-time) deadline) (error "Never said: %s" pattern))
      (let ((new (nthcdr waited (reverse said))))
        (setq found (seq-position new pattern (lambda (text pattern) (string-match-p pattern text)))))
      (if found (setq waited (+ waited found 1)) (accept-process-output nil 0.01)))))

(load (getenv "RALPH_CONFIGURATION") nil t)

(ralph-status)
(hears "^No loop has run here")

(ralph-start "Do the work")
(hears "^Ralph Loop: iteration 1/50 (custom)")
(ralph-add-context "Mind HINT-emacs1 please")
(hears ":contextId")
(ralph-pause)
(hears ":pauseRequested t")
(delete-file "hold")
(hears "^Ralph Loop: paused")
(ralph-status)
(hears ":status paused")

(ralph-start "Do it again")
(hears "^A loop already runs in this repository")
(ralph-resume)
(hears "^Ralph Loop: iteration 2/50")
(hears "^Ralph Loop: completed$")
