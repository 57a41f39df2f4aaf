"""Gateway G0: are the files what they claim to be?"""
