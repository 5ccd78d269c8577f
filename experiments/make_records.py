"""`ssd-keras make-records` in a clone, where it need not be installed."""

import ssd_keras_cli

if __name__ == "__main__":
    ssd_keras_cli.run("make-records")
