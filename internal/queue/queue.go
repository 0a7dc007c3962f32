// Package queue keeps accepted mail until every recipient is settled.
package queue
