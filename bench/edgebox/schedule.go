package main

// mtaSchedules are waits before the second and later attempts, in scaled
// seconds, as the defaults of mail servers give them. The shortest is
// shortestRetry.
var mtaSchedules = [][]float64{
	postfix(8 * hour),
	{900, 900, 900, 900, 900, 900, 900, 900, 3600, 5400, 8100, 12150},        // Exim
	{1800, 1800, 1800, 1800, 1800, 1800, 1800, 1800, 1800, 1800, 1800, 1800}, // sendmail -q30m
	{600, 600, 600, 600, 600, 600, 900, 900, 1800, 1800, 3600, 3600},         // Exchange
}

// poolSchedule is that of a large provider, each attempt from another address.
var poolSchedule = []float64{6 * 60, 23 * 60, 28 * 60, 42 * 60, 60 * 60, 90 * 60, 120 * 60}

// shortestRetry is the shortest wait of anybody, in scaled seconds.
const shortestRetry = 300

// postfix is Postfix's: twice the last wait, from 300 s to 4000 s.
func postfix(until float64) (waits []float64) {
	for wait, sum := 300.0, 0.0; sum < until; wait = min(2*wait, 4000) {
		waits = append(waits, wait)
		sum += wait
	}
	return waits
}

// botSchedule is how a bot goes on after a deferral: as a mail server, not at
// all, or three times, 5 to 30 minutes apart. Which of the last two is drawn
// for each guess (play.go).
func botSchedule(p *party, plan *plan) []float64 {
	if plan.Mimic {
		return postfix(12 * hour)
	}
	var waits []float64
	for range 3 {
		waits = append(waits, shortestRetry+1500*p.rand.Float64())
	}
	return waits
}
